// Pixels from Winograd's products, through the convolution's epilogue.
//
//   Y[m y + r, m x + c, channel] = epilogue( (A' M A)[r, c] ),  M[r, c] = M[SIDE r + c, tile, channel]
//
// Shapes    sums: M [SIDE^2, count, lanes], of tiles `first` .. `first + count`; c, pre: Y [batch, out_height, out_width,
//           out_lanes], or dX likewise in a data gradient. aux: bias [out] (EPILOGUE 1) or what forward saved, as dX
//           (EPILOGUE 2). m, SIDE and lanes are those of shared/winograd_*.
// Epilogue  as in matmul_block.wgsl.
// Dispatch  grid_1d(count * lanes, WORKGROUP_SIZE), folded; a lane of channels of a tile an invocation.
// aux, c and pre are read_write because they may lie in one arena buffer.

override WORKGROUP_SIZE: u32 = 64u;
override PASS: u32 = 0u;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

var<immediate> values: WinogradTiles;
@group(0) @binding(0) var<storage, read> sums: array<WinogradLane>;
@group(0) @binding(1) var<storage, read_write> aux: array<WinogradReal>;
@group(0) @binding(2) var<storage, read_write> c: array<WinogradOut>;
@group(0) @binding(3) var<storage, read_write> pre: array<WinogradReal>;

// A' of one column of M.
fn sum_column(column: u32, at: u32, stride: u32) -> WinogradLine {
    let first = column * stride + at;
    let row = WINOGRAD_SIDE * stride;
    var m = winograd_four(sums[first], sums[first + row], sums[first + 2u * row], sums[first + 3u * row]);
    if WINOGRAD_SIDE > 4u {
        m[4] = sums[first + 4u * row];
        m[5] = sums[first + 5u * row];
    }
    return winograd_result(m);
}

fn bias_of(lane: u32) -> WinogradLane {
    if EPILOGUE != 1u { return WinogradLane(0.0); }
    let there = WINOGRAD_LANES * lane + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(values.out_channels);
    return winograd_cut(select(vec4<f32>(), winograd_padded(WinogradLane(aux[lane])), there));
}

fn store(at: u32, sum: WinogradLane, bias: WinogradLane) {
    var value = sum + bias;
    if EPILOGUE == 1u {
        if STORE_PRE { pre[at] = WinogradReal(value); }
        value = winograd_cut(activation_forward_vec4(ACTIVATION, winograd_padded(value)));
    } else if EPILOGUE == 2u {
        let saved = winograd_padded(WinogradLane(aux[at]));
        value *= winograd_cut(activation_gradient_vec4(ACTIVATION, saved));
    }
    if ACCUMULATE { value += WinogradLane(c[at]); }
    c[at] = WinogradOut(value);
}

// What there is of a row of the tile, whose first pixel lies at `at`.
fn store_row(at: u32, lanes: u32, there: u32, row: WinogradLine, bias: WinogradLane) {
    store(at, row[0], bias);
    if there > 1u { store(at + lanes, row[1], bias); }
    if WINOGRAD_PIXELS > 2u {
        if there > 2u { store(at + 2u * lanes, row[2], bias); }
        if there > 3u { store(at + 3u * lanes, row[3], bias); }
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn winograd_output(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let is_forward = PASS == CONV_FORWARD;
    let lanes = winograd_lanes(select(values.in_channels, values.out_channels, is_forward));
    let tile = index / lanes;
    if tile >= values.count { return; }
    let lane = index - tile * lanes;
    let sides = winograd_sides(values, is_forward).result;
    let at = winograd_tile(values.first + tile, sides);
    let stride = values.count * lanes;
    var sum: WinogradTile;
    sum[0] = sum_column(0u, index, stride);
    sum[1] = sum_column(1u, index, stride);
    sum[2] = sum_column(2u, index, stride);
    sum[3] = sum_column(3u, index, stride);
    if WINOGRAD_SIDE > 4u {
        sum[4] = sum_column(4u, index, stride);
        sum[5] = sum_column(5u, index, stride);
    }
    let bias = bias_of(lane);
    let start = ((at.x * sides.x + at.y) * sides.y + at.z) * lanes + lane;
    let line = sides.y * lanes;
    let there = sides - at.yz;
    store_row(start, lanes, there.y, winograd_result(winograd_across(&sum, 0u)), bias);
    if there.x > 1u { store_row(start + line, lanes, there.y, winograd_result(winograd_across(&sum, 1u)), bias); }
    if WINOGRAD_PIXELS > 2u {
        if there.x > 2u { store_row(start + 2u * line, lanes, there.y, winograd_result(winograd_across(&sum, 2u)), bias); }
        if there.x > 3u { store_row(start + 3u * line, lanes, there.y, winograd_result(winograd_across(&sum, 3u)), bias); }
    }
}
