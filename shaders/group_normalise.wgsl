// Group norm, layer norm and RMS norm, a layer norm being one group: without weight and bias, and with AFFINE with them too.
//
//   xhat = (input - mean) inv_std, mean and biased variance over the channels of a group and all pixels of a sample,
//   in two passes, so that a large mean cancels nothing; inv_std = 1 / sqrt(variance + eps)
//
// An RMS norm is one group whose mean is taken for 0: inv_std = 1 / sqrt(mean of squares + eps).
//
//   AFFINE  output = xhat scale [+ shift], of xhat as it is stored
//
// Shapes    input, xhat, output: [batch, pixels, stride]; inv_std: [batch, groups]; scale, shift: as affine.wgsl has them.
// Dispatch  ceil(batch * groups / SUMS) workgroups of LANES * SUMS, folded: LANES invocations a group of a sample, then a tree
//           for each pass.
// Source    Wu & He, "Group normalization", ECCV 2018; Ba, Kiros, Hinton, "Layer normalization", 2016;
//           Zhang & Sennrich, "Root mean square layer normalization", NeurIPS 2019.

override SUMS: u32 = 1u;
override LANES: u32 = 64u;
override AFFINE: bool = false;
override SHIFT: bool = false;

var<immediate> values: NormShape;
@group(0) @binding(0) var<storage, read_write> input: array<Real>;
@group(0) @binding(1) var<storage, read_write> xhat: array<Real>;
@group(0) @binding(2) var<storage, read_write> inv_std: array<f32>;
@group(0) @binding(3) var<storage, read_write> scale: array<Real>;
@group(0) @binding(4) var<storage, read_write> shift: array<Real>;
@group(0) @binding(5) var<storage, read_write> output: array<Real>;

@compute @workgroup_size(LANES * SUMS)
fn group_normalise(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let lane = tree_in_row(local);
    let index = index_1d(workgroup, grid, 1u) * SUMS + local / LANES;
    let n = index / values.groups;
    let end = select(0u, values.pixels, n < values.batch);
    let width = norm_group_channels(values);
    let first = (index - n * values.groups) * width;
    let start = norm_place(lane.place, width);
    let step = norm_place(LANES, width);
    let count = f32(width * values.pixels);
    let mean_end = select(0u, end, values.centred == 1u);
    var own = 0.0;
    for (var p = start; p.pixel < mean_end; p = norm_further(p, step, width)) {
        let at = norm_element(values, n, p.pixel, first + p.channel);
        own += f32(input[at]);
    }
    let mean = tree_sum(lane, vec4<f32>(own)).x / count;
    var squares = 0.0;
    for (var p = start; p.pixel < end; p = norm_further(p, step, width)) {
        let at = norm_element(values, n, p.pixel, first + p.channel);
        let centred = f32(input[at]) - mean;
        squares += centred * centred;
    }
    let variance = tree_sum(lane, vec4<f32>(squares)).x / count;
    let inverse = 1.0 / sqrt(variance + values.eps);
    if n < values.batch && lane.place == 0u { inv_std[index] = inverse; }
    for (var p = start; p.pixel < end; p = norm_further(p, step, width)) {
        let at = norm_element(values, n, p.pixel, first + p.channel);
        let normalised = Real((f32(input[at]) - mean) * inverse);
        xhat[at] = normalised;
        if AFFINE {
            let param = norm_param(values, p.pixel, first + p.channel);
            var value = f32(normalised) * f32(scale[param]);
            if SHIFT { value += f32(shift[param]); }
            output[at] = Real(value);
        }
    }
    if first + width < values.channels { return; }
    for (var pixel = lane.place; pixel < end; pixel += LANES) {
        for (var c = values.channels; c < values.stride; c++) {
            let at = norm_element(values, n, pixel, c);
            xhat[at] = Real(0.0);
            if AFFINE { output[at] = Real(0.0); }
        }
    }
}
