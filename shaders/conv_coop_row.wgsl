// Weight gradient of a 3 x 3 convolution with a padding of 1 and neither strides nor dilation, by cooperative matrices (tensor
// cores), three taps at once; sums are f32.
//
//   dW[o, i, (ky, kx)] = sum_{n, y, x} dY[(n, y, x), o] X[(n, y + ky - 1, x + kx - 1), i]
//
// Sums run over cells: the pixels of a line and one behind them that is zero, line after line. Cell k is pixel (n, y, x) of dY and,
// of X, pixel (n, y + ky - 1, x - 1): the zero behind a line of dY is the edge in front of the next line of X, and what lies above
// and below an image of X is zero too. So
//
//   dW[o, i, (ky, kx)] = sum_k dY'[k, o] X'[k + kx, i]
//
// and the taps of a kernel's row take the same cells, from a cell further on each: a tile of X and two cells more serve all three.
// On an H200 bringing tiles takes most of a product's time, and here a tile of COOP_DEPTH cells is multiplied three times.
//
// Shapes    images as in conv_tile.wgsl, channels padded to whole octets; dW [out, in, taps]. One group.
// Dispatch  [row tiles, 3 * column tiles, parts] workgroups of COOP_THREADS. A row tile is COOP_TILE_ROWS outputs, a column tile
//           COOP_TILE_COLUMNS inputs, each for a row of the kernel after the other. A part of the cells is summed into dW[z];
//           split_sum.wgsl adds the parts.
// Every operand is read_write because they may lie in one arena buffer.
enable wgpu_cooperative_matrix;

override PASS: u32 = 2u;
override SPLIT: bool = false;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

const TAPS: u32 = 3u; // in a row of the kernel, and rows of it

var<immediate> values: ConvShape;
@group(0) @binding(0) var<storage, read_write> a: array<CoopStored>;
@group(0) @binding(1) var<storage, read_write> b: array<CoopStored>;
@group(0) @binding(2) var<storage, read_write> aux: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<StoreOut>;
@group(0) @binding(4) var<storage, read_write> pre: array<PreReal>;

// Four cells: their pixels counted from the first of all, a cell behind a line as the next line's first; and where in their images.
struct Cells {
    pixel: vec4<u32>,
    y: vec4<u32>,
    x: vec4<u32>,
}

fn cells_at(cell: vec4<u32>) -> Cells {
    let line = cell / (values.out_width + 1u);
    let pixel = cell - line;
    return Cells(pixel, line % values.out_height, pixel - line * values.out_width);
}

// The cells COOP_DEPTH further on, without divisions; `by` is cells_at that cell.
fn cells_next(cells: Cells, by: Cells) -> Cells {
    let x = cells.x + by.x;
    let line_ends = x > vec4<u32>(values.out_width);
    let carry = select(vec4<u32>(), vec4<u32>(1u), line_ends);
    let y = cells.y + by.y + carry;
    let height = vec4<u32>(values.out_height);
    return Cells(cells.pixel + by.pixel - carry, select(y, y - height, y >= height),
                 select(x, x - values.out_width - 1u, line_ends));
}

fn pixels() -> u32 {
    return values.batch * values.out_height * values.out_width;
}

// What a workgroup makes, and what an invocation brings: an octet of the lines of both tiles, and where it has a line of those
// behind the tile of X, that cell's.
struct Task {
    row_0: u32,
    column_0: u32,
    kernel_row: u32,
    loader: vec2<u32>,
    is_behind: bool,
}

// Past the last channel the last octet again, of whose sums nothing is stored.
fn octet_of(channel: u32, loader: vec2<u32>, octets: u32) -> u32 {
    return min(channel / 8u + loader.y, octets - 1u);
}

fn load_a(cells: Cells, task: Task) -> CoopCarried {
    let octets = conv_quads(values.out_channels) / 2u;
    let there = (cells.x < vec4<u32>(values.out_width)) & (cells.pixel < vec4<u32>(pixels()));
    let places = coop_places(cells.pixel * octets + octet_of(task.row_0, task.loader, octets), there);
    return coop_fetch_a(places.at, places.there);
}

fn places_b(cells: Cells, task: Task) -> CoopPlaces {
    let octets = conv_quads(values.in_channels) / 2u;
    let y = cells.y + task.kernel_row;
    let is_inside = (y > vec4<u32>()) & (y <= vec4<u32>(values.in_height));
    let there = is_inside & (cells.x > vec4<u32>()) & (cells.pixel <= vec4<u32>(pixels()));
    let pixel = cells.pixel + task.kernel_row * values.in_width - values.in_width - 1u;
    return coop_places(pixel * octets + octet_of(task.column_0, task.loader, octets), there);
}

fn load_b(cells: Cells, task: Task) -> CoopCarried {
    let places = places_b(cells, task);
    return coop_fetch_b(places.at, places.there);
}

// The octet of one cell, the first of `cells`.
fn load_behind(cells: Cells, task: Task) -> CoopOctet {
    if !task.is_behind { return CoopOctet(); }
    let places = places_b(cells, task);
    let is_there = (places.there & 1u) == 1u;
    return coop_kept(coop_octet_b(places.at.x), is_there, is_there);
}

// The lines of an invocation's octets from number `first` on.
fn lines_from(first: u32, task: Task) -> vec4<u32> {
    return coop_lines_from(first, task.loader, COOP_TILE_COLUMNS, COOP_B_ACROSS);
}

// The line behind the tile of X whose octet an invocation brings.
fn line_behind(task: Task) -> u32 {
    return COOP_DEPTH + task.loader.x;
}

// Puts what was carried into the tiles that begin with cell `depth`, and the octets that are too many to be.
fn put(task: Task, depth: u32, carried_a: CoopCarried, carried_b: CoopCarried, behind: CoopOctet) {
    coop_put_a(0u, task.loader, coop_masked(carried_a));
    coop_put_b(0u, task.loader, coop_masked(carried_b));
    if task.is_behind {
        let pitch = coop_pitch(COOP_TILE_COLUMNS, COOP_B_ACROSS);
        coop_write_b(line_behind(task) * pitch + 2u * task.loader.y, behind);
    }
    for (var first = 4u; coop_brings(first, COOP_TILE_COLUMNS); first += 4u) {
        let cells = cells_at(depth + lines_from(first, task));
        coop_put_a(first, task.loader, coop_masked(load_a(cells, task)));
        coop_put_b(first, task.loader, coop_masked(load_b(cells, task)));
    }
}

// Adds COOP_SIDE cells, from `depth` of the tiles on, to the share at `at`: a row of CoopSums a tap, in it matrices row by row.
fn multiply_cells(at: vec2<u32>, depth: u32, sums: ptr<function, CoopSums>) {
    let a0 = coop_matrix_a(at.x, depth);
    let a1 = coop_matrix_a(at.x + COOP_SIDE, depth);
    let left_0 = coop_matrix_b(depth, at.y);
    let left_1 = coop_matrix_b(depth, at.y + COOP_SIDE);
    (*sums).s00 = coopMultiplyAdd(a0, left_0, (*sums).s00);
    (*sums).s01 = coopMultiplyAdd(a0, left_1, (*sums).s01);
    (*sums).s02 = coopMultiplyAdd(a1, left_0, (*sums).s02);
    (*sums).s03 = coopMultiplyAdd(a1, left_1, (*sums).s03);
    let middle_0 = coop_matrix_b(depth + 1u, at.y);
    let middle_1 = coop_matrix_b(depth + 1u, at.y + COOP_SIDE);
    (*sums).s10 = coopMultiplyAdd(a0, middle_0, (*sums).s10);
    (*sums).s11 = coopMultiplyAdd(a0, middle_1, (*sums).s11);
    (*sums).s12 = coopMultiplyAdd(a1, middle_0, (*sums).s12);
    (*sums).s13 = coopMultiplyAdd(a1, middle_1, (*sums).s13);
    let right_0 = coop_matrix_b(depth + 2u, at.y);
    let right_1 = coop_matrix_b(depth + 2u, at.y + COOP_SIDE);
    (*sums).s20 = coopMultiplyAdd(a0, right_0, (*sums).s20);
    (*sums).s21 = coopMultiplyAdd(a0, right_1, (*sums).s21);
    (*sums).s22 = coopMultiplyAdd(a1, right_0, (*sums).s22);
    (*sums).s23 = coopMultiplyAdd(a1, right_1, (*sums).s23);
}

// Adds a share of the products of the tiles in workgroup memory.
fn multiply_row(share: u32, sums: ptr<function, CoopSums>) {
    let at = coop_corner(share);
    multiply_cells(at, 0u, sums);
    if COOP_SIDE == 8u { multiply_cells(at, 8u, sums); }
    multiply_cells(at, 16u, sums);
    if COOP_SIDE == 8u { multiply_cells(at, 24u, sums); }
}

// Stores four inputs' sums of an output, at a tap of the kernel's row.
fn store(task: Task, at: vec2<u32>, tap: u32, part: u32, sums: vec4<f32>) {
    let quads = conv_quads(values.in_channels);
    let quad = (task.column_0 + at.y) / 4u;
    if quad < quads {
        conv_store_weight(task.row_0 + at.x, (TAPS * task.kernel_row + tap) * quads + quad, part, sums);
    }
}

@compute @workgroup_size(COOP_THREADS)
fn conv_coop_row(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let loader = coop_loader(thread, COOP_TILE_COLUMNS, COOP_B_ACROSS);
    let task = Task(workgroup.x * COOP_TILE_ROWS, workgroup.y / TAPS * COOP_TILE_COLUMNS, workgroup.y % TAPS, loader,
                    loader.x < TAPS - 1u);
    let cells_of_all = values.batch * values.out_height * (values.out_width + 1u);
    let part = part_of_sum(workgroup.z, grid.z, cells_of_all, COOP_DEPTH);
    let by = cells_at(vec4<u32>(COOP_DEPTH));
    for (var first = 0u; first < COOP_SHARES; first += subgroups) {
        let share = coop_share(first, subgroup);
        var cells = cells_at(part.x + lines_from(0u, task));
        var behind = cells_at(vec4<u32>(part.x + line_behind(task)));
        var carried_a = load_a(cells, task);
        var carried_b = load_b(cells, task);
        var carried_behind = load_behind(behind, task);
        var sums: CoopSums;
        for (var depth = part.x; depth < part.y; depth += COOP_DEPTH) {
            put(task, depth, carried_a, carried_b, carried_behind);
            workgroupBarrier();
            // After the last tile those behind it, for nobody: not to ask is faster.
            cells = cells_next(cells, by);
            behind = cells_next(behind, by);
            carried_a = load_a(cells, task);
            carried_b = load_b(cells, task);
            carried_behind = load_behind(behind, task);
            multiply_row(share, &sums);
            workgroupBarrier();
        }
        for (var number = 0u; number < 2u * TAPS; number++) {
            coop_spill(first, subgroup, number, &sums);
            workgroupBarrier();
            for (var i = thread; i < coop_spilt(first, subgroups); i += COOP_THREADS) {
                let at = coop_place(first, vec2<u32>(number % 2u, 0u), i);
                store(task, at, number / 2u, workgroup.z, coop_found(i));
            }
            workgroupBarrier();
        }
    }
}
