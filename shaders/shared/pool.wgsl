// The geometry of a 2-d pool, as the host sends it. Images are [batch, height, width, quads] vec4s.

const POOL_MAX: u32 = 0u;
const POOL_AVERAGE: u32 = 1u;
const POOL_ADAPTIVE: u32 = 2u; // average over windows that share the input out evenly
const POOL_SELECT: u32 = 3u; // what a max pool chose

struct PoolShape {
    batch: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
    quads: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_height: u32,
    stride_width: u32,
    padding_height: u32,
    padding_width: u32,
    // 1 if an average divides by the whole window, padding too (PyTorch's default)
    count_padding: u32,
}

// First pixel and end of a window along one side.
struct PoolWindow {
    first: u32,
    end: u32,
}

fn pool_window(mode: u32, output: u32, input_size: u32, output_size: u32, kernel: u32, stride: u32, padding: u32) -> PoolWindow {
    if mode == POOL_ADAPTIVE {
        return PoolWindow(output * input_size / output_size, ((output + 1u) * input_size + output_size - 1u) / output_size);
    }
    let start = i32(output * stride) - i32(padding);
    return PoolWindow(u32(max(start, 0)), u32(min(start + i32(kernel), i32(input_size))));
}

fn pool_rows(mode: u32, shape: PoolShape, y: u32) -> PoolWindow {
    return pool_window(mode, y, shape.in_height, shape.out_height, shape.kernel_height, shape.stride_height,
                       shape.padding_height);
}

fn pool_columns(mode: u32, shape: PoolShape, x: u32) -> PoolWindow {
    return pool_window(mode, x, shape.in_width, shape.out_width, shape.kernel_width, shape.stride_width,
                       shape.padding_width);
}

fn pool_divisor(mode: u32, shape: PoolShape, rows: PoolWindow, columns: PoolWindow) -> f32 {
    if mode == POOL_AVERAGE && shape.count_padding == 1u {
        return f32(shape.kernel_height * shape.kernel_width);
    }
    return f32((rows.end - rows.first) * (columns.end - columns.first));
}
