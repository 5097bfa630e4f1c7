// The geometry of a 2-d convolution, as the host sends it. Images are [batch, height, width, channels] with the channels
// padded to whole vec4s ("quads"); padding channels hold finite values that no real channel depends on.

const CONV_FORWARD: u32 = 0u;
const CONV_DATA_GRADIENT: u32 = 1u;
const CONV_WEIGHT_GRADIENT: u32 = 2u;

struct ConvShape {
    batch: u32,
    in_height: u32,
    in_width: u32,
    in_channels: u32,
    out_height: u32,
    out_width: u32,
    out_channels: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_height: u32,
    stride_width: u32,
    padding_height: u32,
    padding_width: u32,
    dilation_height: u32,
    dilation_width: u32,
    groups: u32,
}

fn conv_quads(channels: u32) -> u32 {
    return (channels + 3u) / 4u;
}

// Rows of the data gradient's product: those pixels of the input that share a remainder by the strides (a phase), and
// so the kernel's taps that reach them. Rows past the image's edge are there and count for nothing.
fn conv_phase_height(shape: ConvShape) -> u32 {
    return (shape.in_height + shape.stride_height - 1u) / shape.stride_height;
}

fn conv_phase_width(shape: ConvShape) -> u32 {
    return (shape.in_width + shape.stride_width - 1u) / shape.stride_width;
}

// The pixel of Y or dX at row `row` (of a phase, in a data gradient), and whether its image has it.
struct ConvPixel {
    index: u32,
    there: bool,
}

fn conv_pixel(shape: ConvShape, pass_code: u32, row: u32, phase: vec2<u32>) -> ConvPixel {
    // One phase: its pixels lie one after the other.
    if pass_code == CONV_FORWARD || (shape.stride_height == 1u && shape.stride_width == 1u) { return ConvPixel(row, true); }
    let width = conv_phase_width(shape);
    let height = conv_phase_height(shape);
    let line = row / width;
    let n = line / height;
    let y = (line - n * height) * shape.stride_height + phase.y;
    let x = (row - line * width) * shape.stride_width + phase.x;
    return ConvPixel((n * shape.in_height + y) * shape.in_width + x, y < shape.in_height && x < shape.in_width);
}

// The offset c in `output = q + c`, where input = stride q + phase and output stride = input + padding - tap dilation;
// `reaches` is false where no output has this tap on this phase.
struct ConvTap {
    offset: i32,
    reaches: bool,
}

fn conv_tap(phase: u32, padding: u32, tap: u32, dilation: u32, stride: u32) -> ConvTap {
    let distance = i32(phase + padding) - i32(tap * dilation);
    let s = i32(stride);
    let offset = select(distance / s, -((s - 1 - distance) / s), distance < 0);
    return ConvTap(offset, offset * s == distance);
}

// Which tile of rows a workgroup of a dispatch [row tiles, column tiles, phases * fold] makes, and of which phase, (x, y). Where
// sums are cut, as in a weight gradient, z counts parts instead.
struct ConvRows {
    tile: u32,
    phase: vec2<u32>,
}

fn conv_rows(shape: ConvShape, pass_code: u32, split: bool, workgroup: vec3<u32>, grid: vec3<u32>) -> ConvRows {
    if split || pass_code == CONV_WEIGHT_GRADIENT { return ConvRows(workgroup.x, vec2<u32>()); }
    let phases = select(1u, shape.stride_height * shape.stride_width, pass_code == CONV_DATA_GRADIENT);
    let fold = workgroup.z / phases;
    let phase = workgroup.z - fold * phases;
    return ConvRows(fold * grid.x + workgroup.x, vec2<u32>(phase % shape.stride_width, phase / shape.stride_width));
}
