// The sum of a product's parts, with the product's epilogue: in the order of the parts, so that it is the same every time.
//
//   C[i] = epilogue( sum_s partials[s, i] )
//
// Shapes    partials: [parts, count]; C: [count], rows of n; aux: bias [n] (EPILOGUE 1) or what forward saved [count]
//           (EPILOGUE 2); pre: [count] with STORE_PRE.
// Epilogue  as in matmul_block.wgsl.
// Dispatch  grid_1d(count, WORKGROUP_SIZE), folded; one element an invocation: neighbours read neighbours, and `parts`
//           reads are under way at once.

override WORKGROUP_SIZE: u32 = 64u;
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

@compute @workgroup_size(WORKGROUP_SIZE)
fn split_sum(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let at = index_1d(invocation, grid, WORKGROUP_SIZE);
    if at >= values.count { return; }
    var value = 0.0;
    for (var part = 0u; part < values.parts; part++) {
        value += partials[part * values.count + at];
    }
    epilogue_store(at, at % values.n, value);
}
