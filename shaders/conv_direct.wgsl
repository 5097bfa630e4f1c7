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
// Dispatch  grid_1d(elements of Y, dX (padding channels too) or dW, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;
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

fn weight_gradient(index: u32) -> f32 {
    let taps = values.kernel_height * values.kernel_width;
    let inputs = values.in_channels / values.groups;
    let o = index / (inputs * taps);
    let i = o / (values.out_channels / values.groups) * inputs + index / taps % inputs;
    let ky = index % taps / values.kernel_width;
    let kx = index % values.kernel_width;
    var sum = 0.0;
    for (var n = 0u; n < values.batch; n++) {
        for (var oy = 0u; oy < values.out_height; oy++) {
            let y = under(oy, ky, values.stride_height, values.padding_height, values.dilation_height);
            if y >= values.in_height { continue; }
            for (var ox = 0u; ox < values.out_width; ox++) {
                let x = under(ox, kx, values.stride_width, values.padding_width, values.dilation_width);
                if x < values.in_width {
                    sum += f32(a[element(n, oy, ox, o, values.out_height, values.out_width, values.out_channels)])
                        * f32(b[element(n, y, x, i, values.in_height, values.in_width, values.in_channels)]);
                }
            }
        }
    }
    return sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv_direct(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    if PASS == CONV_WEIGHT_GRADIENT {
        let inputs = values.in_channels / values.groups;
        if index < values.out_channels * inputs * values.kernel_height * values.kernel_width {
            epilogue_store(index, 0u, weight_gradient(index));
        }
        return;
    }
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
