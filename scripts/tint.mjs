// Puts the kernels that jostle-compilers wrote through Tint, the WGSL compiler of Chrome and Dawn:
//
//   node scripts/tint.mjs PACKAGE FOLDER BACKEND
//
// PACKAGE is the folder of the npm package webgpu, BACKEND null or vulkan. Dawn's null backend reads and resolves everything,
// every choice and f16 included, and needs no driver; vulkan also writes SPIR-V and has the driver compile it: of each
// kernel's defaults, where the adapter can do it. One line a pipeline on stdout, for scripts/compilers.sh:
// `ok<tab>NAME`, `left<tab>NAME<tab>WHY` or `refused<tab>NAME<tab>ENTRY<tab>WORDS`. Exits 77 where Dawn or its adapter
// cannot be had.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [packageFolder, folder, backend] = process.argv.slice(2);

// Their unrolled tiles take SwiftShader half a minute each.
const SLOW = ['conv_block', 'conv_narrow', 'conv_software', 'conv_tile', 'matmul_block', 'matmul_software'];

function cannotBeHad(why) {
    console.error(why);
    process.exit(77);
}

async function openDevice() {
    const { create, globals } = await import(pathToFileURL(resolve(packageFolder, 'index.js'))).catch((error) =>
        cannotBeHad(`Dawn does not load: ${error.message}`));
    Object.assign(globalThis, globals);
    const gpu = create([`backend=${backend}`]);
    const adapter = await gpu.requestAdapter();
    if (!adapter) cannotBeHad(`Dawn finds no adapter on its backend ${backend}`);
    const requiredFeatures = ['shader-f16', 'subgroups'].filter((feature) => adapter.features.has(feature));
    const { maxComputeWorkgroupStorageSize, maxImmediateSize } = adapter.limits;
    const device = await adapter.requestDevice({
        requiredFeatures,
        requiredLimits: { maxComputeWorkgroupStorageSize, maxImmediateSize },
    });
    return { gpu, adapter, device };
}

// What Dawn says of `work` within an error scope: nothing where it is content.
async function words(device, work) {
    device.pushErrorScope('validation');
    device.pushErrorScope('internal');
    let thrown = '';
    try {
        await work();
    } catch (error) {
        thrown = error.message;
    }
    const scopes = [await device.popErrorScope(), await device.popErrorScope()];
    return [...scopes.filter(Boolean).map((error) => error.message), thrown].find(Boolean) ?? '';
}

// Tint's errors, each with the line that it is about.
async function moduleWords(module, code) {
    const lines = code.split('\n');
    const { messages } = await module.getCompilationInfo();
    const errors = messages.filter((message) => message.type === 'error');
    const shown = ({ lineNum, message }) => `line ${lineNum} (${(lines[lineNum - 1] ?? '').trim()}): ${message}`;
    return errors.map(shown).join('; ');
}

// The layout that the engine makes.
function pipelineLayout(device, kernel) {
    const entries = kernel.read_only.map((readOnly, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: readOnly ? 'read-only-storage' : 'storage' },
    }));
    const bindGroupLayouts = [device.createBindGroupLayout({ entries })];
    return device.createPipelineLayout({ bindGroupLayouts, immediateSize: kernel.immediate_bytes });
}

function print(...fields) {
    console.log(fields.map((field) => field.replaceAll(/\s+/g, ' ').trim()).join('\t'));
}

async function check(device, kernel) {
    const compiles = backend === 'vulkan';
    if (kernel.f16 && !device.features.has('shader-f16')) return print('left', kernel.name, 'no f16');
    if (compiles && SLOW.includes(kernel.entry)) return print('left', kernel.name, 'slow');
    const code = readFileSync(join(folder, kernel.file), 'utf8');
    let module;
    const refused = await words(device, () => { module = device.createShaderModule({ code, label: kernel.name }); });
    const reason = (await moduleWords(module, code)) || refused;
    if (reason) return print('refused', kernel.name, kernel.entry, reason);
    for (const constants of compiles ? kernel.variants.slice(0, 1) : kernel.variants) {
        const name = [kernel.name, ...Object.entries(constants).map(([key, value]) => `${key}=${value}`)].join(' ');
        const refusal = await words(device, async () => {
            const layout = pipelineLayout(device, kernel);
            const compute = { module, entryPoint: kernel.entry, constants };
            await device.createComputePipelineAsync({ label: name, layout, compute });
        });
        if (refusal) print('refused', name, kernel.entry, refusal);
        else print('ok', name);
    }
}

// All of it is kept to the end: Dawn crashes where its instance is collected before its device.
const dawn = await openDevice();
for (const kernel of JSON.parse(readFileSync(join(folder, 'list.json'), 'utf8'))) await check(dawn.device, kernel);
process.exit(dawn.gpu ? 0 : 1);
