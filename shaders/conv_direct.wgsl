// 2-d convolution with groups, an element at a time: depthwise and grouped layers, where a matrix product would be mostly
// zeros.
//
//   forward          Y[p, o]       = sum_{tap, i in o's group} X[p * stride + tap * dilation - padding, i] W[o, i, tap]
//   data gradient    dX[q, i]      = sum_{tap, o in i's group} dY[(q + padding - tap * dilation) / stride, o] W[o, i, tap]
//   weight gradient  dW[o, i, tap] = sum_p dY[p, o] X[p * stride + tap * dilation - padding, i]
//
// Shapes    images as in shared/conv.wgsl; W, dW: [out, in / groups, kernel_height, kernel_width], PyTorch's layout.
//           a, b: X, W | dY, W | dY, X. aux: bias [out] (EPILOGUE 1) or what forward saved, as dX (EPILOGUE 2).
// Epilogue  as in matmul_block.wgsl. Padding channels of Y and dX are set to 0.
// Dispatch  forward and data gradient: grid_1d(elements of Y or dX, padding channels too, SUMS), folded, LANES being 1.
//           Weight gradient: workgroups of (SUMS, LANES), in z one for each part of the pixels (c: [parts] of dW), in x and y,
//           folded, one for each tap, input of a group and SUMS outputs, so that taps of the same pixels follow each other:
//           neighbours read neighbouring channels, and an element's LANES take every LANES-th pixel each, then a tree.

override SUMS: u32 = 64u;
override LANES: u32 = 1u;
override PASS: u32 = 0u;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

var<immediate> values: ConvShape;
@group(0) @binding(0) var<storage, read_write> a: array<Real>;
@group(0) @binding(1) var<storage, read_write> b: array<Real>;
@group(0) @binding(2) var<storage, read_write> aux: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<Out>;
@group(0) @binding(4) var<storage, read_write> pre: array<Real>;

// Element [n, y, x, channel] of an image batch.
fn element(n: u32, y: u32, x: u32, channel: u32, height: u32, width: u32, channels: u32) -> u32 {
    return ((n * height + y) * width + x) * 4u * conv_quads(channels) + channel;
}

fn weight_at(o: u32, i_in_group: u32, ky: u32, kx: u32) -> u32 {
    let inputs = values.in_channels / values.groups;
    return ((o * inputs + i_in_group) * values.kernel_height + ky) * values.kernel_width + kx;
}

// n, y, x, channel of element `index` of an image batch.
fn position(index: u32, height: u32, width: u32, channels: u32) -> vec4<u32> {
    let stride = 4u * conv_quads(channels);
    let pixel = index / stride;
    let line = pixel / width;
    let n = line / height;
    return vec4<u32>(n, line - n * height, pixel - line * width, index - pixel * stride);
}

// The input's coordinate under an output's and a tap; past the edge it is as large as a wrapped negative number.
fn under(output: u32, tap: u32, stride: u32, padding: u32, dilation: u32) -> u32 {
    return output * stride + tap * dilation - padding;
}

fn forward(at: vec4<u32>) -> f32 {
    let inputs = values.in_channels / values.groups;
    let first = at.w / (values.out_channels / values.groups) * inputs;
    var sum = 0.0;
    for (var ky = 0u; ky < values.kernel_height; ky++) {
        let y = under(at.y, ky, values.stride_height, values.padding_height, values.dilation_height);
        for (var kx = 0u; kx < values.kernel_width; kx++) {
            let x = under(at.z, kx, values.stride_width, values.padding_width, values.dilation_width);
            if y < values.in_height && x < values.in_width {
                for (var i = 0u; i < inputs; i++) {
                    let source = element(at.x, y, x, first + i, values.in_height, values.in_width, values.in_channels);
                    sum += f32(a[source]) * f32(b[weight_at(at.w, i, ky, kx)]);
                }
            }
        }
    }
    return sum;
}

fn data_gradient(at: vec4<u32>) -> f32 {
    let inputs = values.in_channels / values.groups;
    let outputs = values.out_channels / values.groups;
    let group = at.w / inputs;
    var sum = 0.0;
    for (var ky = 0u; ky < values.kernel_height; ky++) {
        let in_y = conv_tap(at.y, values.padding_height, ky, values.dilation_height, values.stride_height);
        let y = bitcast<u32>(in_y.offset);
        for (var kx = 0u; kx < values.kernel_width; kx++) {
            let in_x = conv_tap(at.z, values.padding_width, kx, values.dilation_width, values.stride_width);
            let x = bitcast<u32>(in_x.offset);
            if in_y.reaches && in_x.reaches && y < values.out_height && x < values.out_width {
                for (var o = group * outputs; o < (group + 1u) * outputs; o++) {
                    let source = element(at.x, y, x, o, values.out_height, values.out_width, values.out_channels);
                    sum += f32(a[source]) * f32(b[weight_at(o, at.w - group * inputs, ky, kx)]);
                }
            }
        }
    }
    return sum;
}

// n, y and x of output pixel `index`.
fn out_pixel(index: u32) -> vec3<u32> {
    let line = index / values.out_width;
    let n = line / values.out_height;
    return vec3<u32>(n, line - n * values.out_height, index - line * values.out_width);
}

// The pixel as many further as lie before `step`: without a division, for the insides of loops.
fn further(pixel: vec3<u32>, step: vec3<u32>) -> vec3<u32> {
    var next = pixel + step;
    if next.z >= values.out_width {
        next.z -= values.out_width;
        next.y += 1u;
    }
    if next.y >= values.out_height {
        next.y -= values.out_height;
        next.x += 1u;
    }
    return next;
}

// An invocation's share of dW[o, i, tap]: every LANES-th pixel from `first` on.
fn weight_gradient(o: u32, i_in_group: u32, tap: u32, first: u32, end: u32) -> f32 {
    let inputs = values.in_channels / values.groups;
    let i = o / (values.out_channels / values.groups) * inputs + i_in_group;
    let ky = tap / values.kernel_width;
    let kx = tap - ky * values.kernel_width;
    let stride = 4u * conv_quads(values.out_channels);
    let step = out_pixel(LANES);
    var at = out_pixel(first);
    var sum = 0.0;
    for (var pixel = first; pixel < end; pixel += LANES) {
        let y = under(at.y, ky, values.stride_height, values.padding_height, values.dilation_height);
        let x = under(at.z, kx, values.stride_width, values.padding_width, values.dilation_width);
        if y < values.in_height && x < values.in_width {
            let source = element(at.x, y, x, i, values.in_height, values.in_width, values.in_channels);
            sum += f32(a[pixel * stride + o]) * f32(b[source]);
        }
        at = further(at, step);
    }
    return sum;
}

// Sums of a workgroup's elements of dW over a part of the pixels.
fn weight_gradients(local: vec3<u32>, workgroup: vec3<u32>, grid: vec3<u32>) {
    let index = index_1d(workgroup, grid, 1u);
    let taps = values.kernel_height * values.kernel_width;
    let inputs = values.in_channels / values.groups;
    let tap = index % taps;
    let i = index / taps % inputs;
    let o = index / (taps * inputs) * SUMS + local.x;
    let is_there = o < values.out_channels;
    let pixels = part_of_sum(workgroup.z, grid.z, values.batch * values.out_height * values.out_width, 1u);
    let end = select(0u, pixels.y, is_there);
    let own = weight_gradient(o, i, tap, pixels.x + local.y, end);
    let sum = tree_sum(tree_in_column(local, SUMS), vec4<f32>(own)).x;
    if is_there && local.y == 0u {
        epilogue_store(((workgroup.z * values.out_channels + o) * inputs + i) * taps + tap, 0u, sum);
    }
}

@compute @workgroup_size(SUMS, LANES)
fn conv_direct(
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    if PASS == CONV_WEIGHT_GRADIENT {
        weight_gradients(local, workgroup, grid);
        return;
    }
    let index = index_1d(workgroup, grid, 1u) * SUMS + local.x;
    let is_forward = PASS == CONV_FORWARD;
    let height = select(values.in_height, values.out_height, is_forward);
    let width = select(values.in_width, values.out_width, is_forward);
    let channels = select(values.in_channels, values.out_channels, is_forward);
    let at = position(index, height, width, channels);
    if at.x >= values.batch { return; }
    if at.w >= channels {
        c[index] = Out(0.0);
        if STORE_PRE { pre[index] = Real(0.0); }
    } else if is_forward {
        epilogue_store(index, at.w, forward(at));
    } else {
        epilogue_store(index, at.w, data_gradient(at));
    }
}
