// What becomes of the finished sums of a convolution, with the epilogue of matmul_block.wgsl.
// Needs shared/conv.wgsl, shared/activation.wgsl and shared/store_4.wgsl, or shared/store_1.wgsl for weight gradients, and of
// the kernel its overrides PASS, SPLIT (in forward and data gradient workgroups in z sum parts of the terms, into images of their
// own), EPILOGUE, ACTIVATION, STORE_PRE and ACCUMULATE, its ConvShape `values` and its binding aux [Real].

// The biases of four outputs, read once for all pixels; 0 beyond the last output, and where no bias is added.
fn conv_store_bias(column: u32) -> vec4<f32> {
    if EPILOGUE != 1u { return vec4<f32>(); }
    let i = 4u * column + vec4<u32>(0u, 1u, 2u, 3u);
    let there = i < vec4<u32>(values.out_channels);
    let j = select(vec4<u32>(), i, there);
    return select(vec4<f32>(), vec4<f32>(vec4<Real>(aux[j.x], aux[j.y], aux[j.z], aux[j.w])), there);
}

// A quad of channels of a pixel of Y or dX.
fn conv_store_pixel(at: u32, sums: vec4<f32>, bias: vec4<f32>) {
    var value = sums + bias;
    if EPILOGUE == 1u {
        if STORE_PRE { pre_store(4u * at, 4u, value); }
        value = activation_forward_vec4(ACTIVATION, value);
    } else if EPILOGUE == 2u {
        let saved = vec4<f32>(vec4<Real>(aux[4u * at], aux[4u * at + 1u], aux[4u * at + 2u], aux[4u * at + 3u]));
        value *= activation_gradient_vec4(ACTIVATION, saved);
    }
    if ACCUMULATE { value += store_held(4u * at, 4u); }
    store_c(4u * at, 4u, value);
}

// Output `row`, quad `column` of [taps, in_quads], of the part-th part of dW: one element each, a tap apart from the next
// input's.
fn conv_store_weight(row: u32, column: u32, part: u32, sums: vec4<f32>) {
    let quads = conv_quads(values.in_channels);
    let taps = values.kernel_height * values.kernel_width;
    let tap = column / quads;
    if row >= values.out_channels || tap >= taps { return; }
    let input = 4u * (column - tap * quads);
    for (var j = 0u; j < 4u; j++) {
        if input + j < values.in_channels {
            let at = ((part * values.out_channels + row) * values.in_channels + input + j) * taps + tap;
            var value = vec4<f32>(sums[j]);
            if ACCUMULATE { value += store_held(at, 1u); }
            store_c(at, 1u, value);
        }
    }
}

// How many pixels Y or dX has.
fn conv_store_pixels() -> u32 {
    if PASS == CONV_FORWARD { return values.batch * values.out_height * values.out_width; }
    return values.batch * values.in_height * values.in_width;
}

// Row `row` (of a phase, in a data gradient) and quad `column` of a pass' product; nothing outside of it.
fn conv_store(row: u32, phase: vec2<u32>, column: u32, part: u32, sums: vec4<f32>) {
    if PASS == CONV_WEIGHT_GRADIENT {
        conv_store_weight(row, column, part, sums);
    } else {
        let columns = conv_quads(select(values.in_channels, values.out_channels, PASS == CONV_FORWARD));
        let pixel = conv_pixel(values, PASS, row, phase);
        // A row past the last is of an image past the last, and so a pixel too.
        if pixel.there && pixel.index < conv_store_pixels() && column < columns {
            let image = select(0u, part * conv_store_pixels(), SPLIT);
            conv_store_pixel((image + pixel.index) * columns + column, sums, conv_store_bias(column));
        }
    }
}
