// The sum of a product's parts, with the product's epilogue: in an order that the number of parts alone gives, so that it is
// the same every time.
//
//   C[i] = epilogue( sum_s partials[s, i] )
//
// Shapes    partials: [parts, count]; C: [count], rows of n; aux: bias [n] (EPILOGUE 1) or what forward saved [count]
//           (EPILOGUE 2); pre: [count] with STORE_PRE.
// Epilogue  as in matmul_block.wgsl.
// Dispatch  ceil(count / (4 SUMS)) workgroups of (SUMS, LANES), folded: neighbours read neighbours; an invocation has four
//           elements, SUMS apart, whose reads are under way at once, and takes every LANES-th part of each, then a tree.

override SUMS: u32 = 64u;
override LANES: u32 = 1u;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

struct SplitSum {
    parts: u32,
    count: u32,
    n: u32,
}

var<immediate> values: SplitSum;
@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> aux: array<Real>;
@group(0) @binding(2) var<storage, read_write> c: array<Out>;
@group(0) @binding(3) var<storage, read_write> pre: array<Real>;

@compute @workgroup_size(SUMS, LANES)
fn split_sum(
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let at = index_1d(workgroup, grid, 1u) * 4u * SUMS + local.x + SUMS * vec4<u32>(0u, 1u, 2u, 3u);
    let there = at < vec4<u32>(values.count);
    let place = select(vec4<u32>(), at, there); // of those past the end the first of all, for nobody
    let end = select(0u, values.parts, there.x);
    var own = vec4<f32>();
    for (var part = local.y; part < end; part += LANES) {
        let from = place + part * values.count;
        own += vec4<f32>(partials[from.x], partials[from.y], partials[from.z], partials[from.w]);
    }
    let sums = tree_sum(tree_in_column(local, SUMS), own);
    if local.y != 0u { return; }
    for (var i = 0u; i < 4u; i++) {
        if there[i] { epilogue_store(at[i], at[i] % values.n, sums[i]); }
    }
}
