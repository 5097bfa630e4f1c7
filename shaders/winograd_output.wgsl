// Pixels from Winograd's products, through the convolution's epilogue.
//
//   Y[2 y + r, 2 x + c, channel] = epilogue( (A' m A)[r, c] ),  m[r, c] = M[4 r + c, tile, channel]
//   A' = 1  1  1  0
//        0  1 -1 -1
//
// Shapes    sums: M [16, count, quads] vec4s, of tiles `first` .. `first + count`; c, pre: Y [batch, out_height, out_width,
//           out_quads], or dX likewise in a data gradient. aux: bias [out] (EPILOGUE 1) or what forward saved, as dX
//           (EPILOGUE 2).
// Epilogue  as in matmul_block.wgsl.
// Dispatch  grid_1d(count * quads, WORKGROUP_SIZE), folded; a quad of channels of a tile an invocation.
// aux, c and pre are read_write because they may lie in one arena buffer.

override WORKGROUP_SIZE: u32 = 64u;
override PASS: u32 = 0u;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

var<immediate> values: WinogradTiles;
@group(0) @binding(0) var<storage, read> sums: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> aux: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4<Out>>;
@group(0) @binding(3) var<storage, read_write> pre: array<vec4<Real>>;

fn sum_row(row: u32, at: u32, stride: u32) -> mat4x4<f32> {
    return mat4x4<f32>(sums[4u * row * stride + at], sums[(4u * row + 1u) * stride + at],
                       sums[(4u * row + 2u) * stride + at], sums[(4u * row + 3u) * stride + at]);
}

fn bias_of(quad: u32) -> vec4<f32> {
    if EPILOGUE != 1u { return vec4<f32>(); }
    let there = 4u * quad + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(values.out_channels);
    return select(vec4<f32>(), vec4<f32>(aux[quad]), there);
}

fn store(at: u32, sum: vec4<f32>, bias: vec4<f32>) {
    var value = sum + bias;
    if EPILOGUE == 1u {
        if STORE_PRE { pre[at] = vec4<Real>(value); }
        value = activation_forward_vec4(ACTIVATION, value);
    } else if EPILOGUE == 2u {
        value *= activation_gradient_vec4(ACTIVATION, vec4<f32>(aux[at]));
    }
    if ACCUMULATE { value += vec4<f32>(c[at]); }
    c[at] = vec4<Out>(value);
}

// One row of the tile; `of` is that row of A' m.
fn store_row(at: u32, width: u32, x: u32, quads: u32, block: mat4x4<f32>, bias: vec4<f32>) {
    store(at, block[0] + block[1] + block[2], bias);
    if x + 1u < width { store(at + quads, block[1] - block[2] - block[3], bias); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn winograd_output(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let is_forward = PASS == CONV_FORWARD;
    let quads = conv_quads(select(values.in_channels, values.out_channels, is_forward));
    let tile = index / quads;
    if tile >= values.count { return; }
    let quad = index - tile * quads;
    let sides = winograd_sides(values, is_forward).result;
    let at = winograd_tile(values.first + tile, sides);
    let stride = values.count * quads;
    let m0 = sum_row(0u, index, stride);
    let m1 = sum_row(1u, index, stride);
    let m2 = sum_row(2u, index, stride);
    let m3 = sum_row(3u, index, stride);
    let bias = bias_of(quad);
    let start = ((at.x * sides.x + at.y) * sides.y + at.z) * quads + quad;
    store_row(start, sides.y, at.z, quads, m0 + m1 + m2, bias);
    if at.y + 1u < sides.x {
        store_row(start + sides.y * quads, sides.y, at.z, quads, m1 - m2 - m3, bias);
    }
}
