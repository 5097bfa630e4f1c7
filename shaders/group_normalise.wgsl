// Group norm and layer norm without weight and bias: a layer norm is one group.
//
//   output = (input - mean) inv_std, mean and biased variance over the channels of a group and all pixels of a sample,
//   in two passes, so that a large mean cancels nothing; inv_std = 1 / sqrt(variance + eps)
//
// Shapes    input, output: [batch, pixels, stride]; inv_std: [batch, groups].
// Dispatch  grid_1d(batch * groups, WORKGROUP_SIZE), folded; one invocation a group of a sample.
// Source    Wu & He, "Group normalization", ECCV 2018; Ba, Kiros, Hinton, "Layer normalization", 2016.

override WORKGROUP_SIZE: u32 = 8u;

var<immediate> values: NormShape;
@group(0) @binding(0) var<storage, read_write> input: array<Real>;
@group(0) @binding(1) var<storage, read_write> output: array<Real>;
@group(0) @binding(2) var<storage, read_write> inv_std: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn group_normalise(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let n = index / values.groups;
    if n >= values.batch { return; }
    let width = norm_group_channels(values);
    let first = (index - n * values.groups) * width;
    let count = f32(width * values.pixels);
    var sum = 0.0;
    for (var pixel = 0u; pixel < values.pixels; pixel++) {
        for (var c = first; c < first + width; c++) {
            sum += f32(input[norm_element(values, n, pixel, c)]);
        }
    }
    let mean = sum / count;
    var squares = 0.0;
    for (var pixel = 0u; pixel < values.pixels; pixel++) {
        for (var c = first; c < first + width; c++) {
            let centred = f32(input[norm_element(values, n, pixel, c)]) - mean;
            squares += centred * centred;
        }
    }
    let scale = 1.0 / sqrt(squares / count + values.eps);
    inv_std[index] = scale;
    for (var pixel = 0u; pixel < values.pixels; pixel++) {
        for (var c = first; c < first + width; c++) {
            let at = norm_element(values, n, pixel, c);
            output[at] = Real((f32(input[at]) - mean) * scale);
        }
        if first + width == values.channels {
            for (var c = values.channels; c < values.stride; c++) {
                output[norm_element(values, n, pixel, c)] = Real(0.0);
            }
        }
    }
}
