// Backward of a 2-d pool, gathered: each pixel of the input adds up the windows that it lies in.
//
//   max       grad_input[i] = sum over windows o that chose i of grad_output[o]
//   average   grad_input[i] = sum over windows o that hold i of grad_output[o] / window size
//   ACTIVATION multiplies by activation'(saved), of the layer that made the input; ACCUMULATE adds to what is there
//
// Shapes    grad_output, chosen: [batch, out_height, out_width, quads] vec4s; saved, grad_input:
//           [batch, in_height, in_width, quads] vec4s.
// Dispatch  grid_1d(batch * in_height * in_width * quads, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;
override MODE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override ACCUMULATE: bool = false;

var<immediate> values: PoolShape;
@group(0) @binding(0) var<storage, read_write> grad_output: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> chosen: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> saved: array<vec4<Real>>;
@group(0) @binding(3) var<storage, read_write> grad_input: array<vec4<Real>>;

// Outputs whose windows may hold input `i` along one side.
fn reaching(i: u32, input_size: u32, output_size: u32, kernel: u32, stride: u32, padding: u32) -> PoolWindow {
    if MODE == POOL_ADAPTIVE {
        return PoolWindow(i * output_size / input_size, min(((i + 1u) * output_size + input_size - 1u) / input_size, output_size));
    }
    let first = select(0u, (i + padding - kernel) / stride + 1u, i + padding >= kernel);
    return PoolWindow(first, min((i + padding) / stride + 1u, output_size));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn pool_gradient(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let pixel = index / values.quads;
    let line = pixel / values.in_width;
    let n = line / values.in_height;
    if n >= values.batch { return; }
    let quad = index - pixel * values.quads;
    let y = line - n * values.in_height;
    let x = pixel - line * values.in_width;
    let lines = reaching(y, values.in_height, values.out_height, values.kernel_height, values.stride_height, values.padding_height);
    let pixels = reaching(x, values.in_width, values.out_width, values.kernel_width, values.stride_width, values.padding_width);
    var sum = vec4<f32>();
    for (var oy = lines.first; oy < lines.end; oy++) {
        let rows = pool_rows(MODE, values, oy);
        for (var ox = pixels.first; ox < pixels.end; ox++) {
            let at = ((n * values.out_height + oy) * values.out_width + ox) * values.quads + quad;
            if MODE == POOL_MAX {
                let here = chosen[at] == vec4<u32>(y * values.in_width + x);
                sum += select(vec4<f32>(), vec4<f32>(grad_output[at]), here);
            } else {
                let columns = pool_columns(MODE, values, ox);
                sum += vec4<f32>(grad_output[at]) / pool_divisor(MODE, values, rows, columns);
            }
        }
    }
    if ACTIVATION != 0u { sum *= activation_gradient_vec4(ACTIVATION, vec4<f32>(saved[index])); }
    if ACCUMULATE { sum += vec4<f32>(grad_input[index]); }
    grad_input[index] = vec4<Real>(sum);
}
