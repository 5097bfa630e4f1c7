// Between images (channel-last, channels padded) and rows of features (dense): channel-first, as torch.flatten orders them, or with
// CHANNEL_LAST pixel after pixel, as a sequence of vectors.
//
//   output[n, channel * pixels + pixel] (+)= input[n, pixel, channel];  with BACK the other way, padding channels 0
//
// Shapes    image: [batch, pixels, stride]; rows: [batch, channels * pixels]. Input and output are the one or the other.
// Dispatch  grid_1d(elements of the output, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;
override BACK: bool = false;
override CHANNEL_LAST: bool = false;
override ACCUMULATE: bool = false;

struct Shape {
    batch: u32,
    pixels: u32,
    channels: u32,
    stride: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read_write> input: array<Real>;
@group(0) @binding(1) var<storage, read_write> output: array<Real>;

// Where an element lies in the rows.
fn row_element(n: u32, pixel: u32, channel: u32) -> u32 {
    if CHANNEL_LAST { return (n * values.pixels + pixel) * values.channels + channel; }
    return (n * values.channels + channel) * values.pixels + pixel;
}

// Where element `at` of a row lies in the images.
fn image_element(n: u32, at: u32) -> u32 {
    if CHANNEL_LAST {
        let pixel = at / values.channels;
        return (n * values.pixels + pixel) * values.stride + at - pixel * values.channels;
    }
    let channel = at / values.pixels;
    return (n * values.pixels + at - channel * values.pixels) * values.stride + channel;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn flatten(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let sample = select(values.channels, values.stride, BACK) * values.pixels;
    let n = index / sample;
    if n >= values.batch { return; }
    let at = index - n * sample;
    var value = 0.0;
    if BACK {
        let pixel = at / values.stride;
        let channel = at - pixel * values.stride;
        if channel < values.channels {
            value = f32(input[row_element(n, pixel, channel)]);
        }
    } else {
        value = f32(input[image_element(n, at)]);
    }
    if ACCUMULATE { value += f32(output[index]); }
    output[index] = Real(value);
}
