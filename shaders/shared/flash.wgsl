// Attention over tiles of 32 own rows and 32 other rows of one head, by workgroups of 64: what no form of it keeps is the matrix
// of scores. Own rows are those whose results a workgroup sums (queries, or keys with their values); over the others it goes in turn.
//
// An invocation has 4 x 4 of the 32 x 32 scores: those of own quad i and other quad j, quad q being rows 4 q .. 4 q + 3 of the tile.
// A round of the loop over other rows is
//   - products over the head's dimensions, DEPTH at a time (flash_load, flash_multiply): four slots hold that many dimensions of
//     32 rows each, depth-first, as vec4s along the rows;
//   - what the kernel makes of the scores: weights (flash_put), of which there are WEIGHTS kinds;
//   - sums of other rows by these weights, 32 columns at a time (flash_sum), into registers: those of own quad i and of columns
//     j, j + 8, j + 16 and j + 24, so that neighbours read and write neighbours in memory.
//
// Workgroup memory: 8 KiB of tiles, 4 KiB for each kind of weights. 8 neighbours move 8 vec4s at a time, which are all 32 banks;
// swizzles see to it that these are different ones. All rows of a tile are loaded, those that are not there as zeros.
//
// Needs of the kernel DEPTH, 16 for four slots or 32 for two, WEIGHTS, 1 or 2, flash_element, which reads its tensors, and
// flash_store, which takes a column of a part of the result, [four own rows]; and shared/flash_shape.wgsl, shared/index.wgsl
// and shared/math.wgsl. Arrays in registers have constant indices: those that loops index may stay in memory.

// 32 columns of a head each, up to 4: how many sums are in registers.
override FLASH_PARTS: u32 = 2u;

const FLASH_SIDE: u32 = 32u;
const FLASH_QUADS: u32 = 8u;
const FLASH_THREADS: u32 = 64u;
const FLASH_CELLS: u32 = 256u; // vec4s of 32 x 32
const FLASH_MASKED: f32 = -1e30; // WGSL may take it that there are no infinities

// What flash_element knows tensors by: packed ones have lines of 3 C, the others of C.
const FLASH_QKV: u32 = 0u;
const FLASH_GRAD: u32 = 1u;
const FLASH_QKV_TANGENT: u32 = 2u;
const FLASH_GRAD_TANGENT: u32 = 3u;

// Parts of a packed line.
const FLASH_QUERY: u32 = 0u;
const FLASH_KEY: u32 = 1u;
const FLASH_VALUE: u32 = 2u;

// A workgroup's own rows: apart from what its invocations differ in, for loops with barriers go by it.
struct FlashTile {
    sequence: u32, // which head of which sample
    first: u32, // of the own rows
}

// Where an invocation stands.
struct FlashPlace {
    sequence: u32, // those of its tile
    first: u32,
    thread: u32,
    i: u32,
    j: u32,
}

// The rows of one head in a tensor.
struct FlashLines {
    tensor: u32,
    start: u32,
    stride: u32,
    rows: u32,
    columns: u32, // d
}

alias FlashScores = array<vec4<f32>, 4>; // [other], each of four own rows
alias FlashSums = array<vec4<f32>, 16>; // [32 columns][4 columns], each of four own rows

var<workgroup> flash_tiles: array<vec4<f32>, 512>;
var<workgroup> flash_weights: array<vec4<f32>, WEIGHTS * FLASH_CELLS>;

fn flash_tile(shape: FlashShape, workgroup: vec3<u32>, grid: vec3<u32>) -> FlashTile {
    let index = index_1d(workgroup, grid, 1u);
    let tiles = (shape.length + FLASH_SIDE - 1u) / FLASH_SIDE;
    return FlashTile(index / tiles, index % tiles * FLASH_SIDE);
}

fn flash_place(tile: FlashTile, thread: u32) -> FlashPlace {
    return FlashPlace(tile.sequence, tile.first, thread, thread / FLASH_QUADS, thread % FLASH_QUADS);
}

// The workgroup's rows of a part of a tensor.
fn flash_lines(shape: FlashShape, sequence: u32, tensor: u32, part: u32) -> FlashLines {
    let channels = shape.heads * shape.head_dim;
    let stride = select(channels, 3u * channels, tensor % 2u == 0u);
    let sample = sequence / shape.heads;
    let column = part * channels + (sequence - sample * shape.heads) * shape.head_dim;
    return FlashLines(tensor, sample * shape.length * stride + column, stride, shape.length, shape.head_dim);
}

// Where the other rows begin and end that the own ones have to do with.
fn flash_range(shape: FlashShape, tile: FlashTile, keys: bool) -> vec2<u32> {
    if shape.causal == 0u { return vec2<u32>(0u, shape.length); }
    if keys { return vec2<u32>(tile.first, shape.length); }
    return vec2<u32>(0u, min(tile.first + FLASH_SIDE, shape.length));
}

// The own rows of an invocation.
fn flash_own(place: FlashPlace) -> vec4<u32> {
    return place.first + 4u * place.i + vec4<u32>(0u, 1u, 2u, 3u);
}

// Whether four own rows, which are keys or queries, have to do with another row.
fn flash_sees(shape: FlashShape, own: vec4<u32>, other: u32, keys: bool) -> vec4<bool> {
    let others = vec4<u32>(other);
    let later = select((own < others), (own > others), keys); // keys than their queries
    return vec4<bool>(other < shape.length) & (vec4<bool>(shape.causal == 0u) | !later);
}

fn flash_value(lines: FlashLines, row: u32, column: u32) -> f32 {
    let at = lines.start + min(row, lines.rows - 1u) * lines.stride + min(column, lines.columns - 1u);
    // A stray NaN times zero is NaN: what is not there is chosen, not multiplied away.
    return select(0.0, flash_element(lines.tensor, at), row < lines.rows && column < lines.columns);
}

fn flash_slot(slot: u32, depth: u32, quad: u32) -> u32 {
    return (slot * DEPTH + depth) * FLASH_QUADS + (quad ^ (depth % FLASH_QUADS));
}

// Dimensions `depth` .. of the 32 rows from `row` on.
fn flash_load(slot: u32, lines: FlashLines, row: u32, depth: u32, thread: u32) {
    for (var cell = thread; cell < DEPTH * FLASH_QUADS; cell += FLASH_THREADS) {
        let quad = cell / DEPTH;
        let column = depth + cell % DEPTH;
        let first = row + 4u * quad;
        flash_tiles[flash_slot(slot, cell % DEPTH, quad)] = vec4<f32>(
            flash_value(lines, first, column),
            flash_value(lines, first + 1u, column),
            flash_value(lines, first + 2u, column),
            flash_value(lines, first + 3u, column),
        );
    }
}

fn flash_add_outer(scores: ptr<function, FlashScores>, own: vec4<f32>, other: vec4<f32>) {
    (*scores)[0] += other.x * own;
    (*scores)[1] += other.y * own;
    (*scores)[2] += other.z * own;
    (*scores)[3] += other.w * own;
}

// Adds the products of an own slot and another.
fn flash_multiply(scores: ptr<function, FlashScores>, own: u32, other: u32, place: FlashPlace) {
    for (var depth = 0u; depth < DEPTH; depth++) {
        let left = flash_tiles[flash_slot(own, depth, place.i)];
        let right = flash_tiles[flash_slot(other, depth, place.j)];
        flash_add_outer(scores, left, right);
    }
}

// Adds the products of slots 0 and 2, and their tangents, slots 1 and 3 being those of 0 and 2.
fn flash_multiply_both(
    scores: ptr<function, FlashScores>,
    tangents: ptr<function, FlashScores>,
    place: FlashPlace,
) {
    for (var depth = 0u; depth < DEPTH; depth++) {
        let left = flash_tiles[flash_slot(0u, depth, place.i)];
        let left_tangent = flash_tiles[flash_slot(1u, depth, place.i)];
        let right = flash_tiles[flash_slot(2u, depth, place.j)];
        let right_tangent = flash_tiles[flash_slot(3u, depth, place.j)];
        flash_add_outer(scores, left, right);
        flash_add_outer(tangents, left_tangent, right);
        flash_add_outer(tangents, left, right_tangent);
    }
}

// Products and their tangents over all dimensions.
fn flash_multiply_all(
    scores: ptr<function, FlashScores>,
    tangents: ptr<function, FlashScores>,
    own: FlashLines,
    own_tangent: FlashLines,
    other: FlashLines,
    other_tangent: FlashLines,
    row: u32,
    place: FlashPlace,
) {
    for (var depth = 0u; depth < own.columns; depth += DEPTH) {
        flash_load(0u, own, place.first, depth, place.thread);
        flash_load(1u, own_tangent, place.first, depth, place.thread);
        flash_load(2u, other, row, depth, place.thread);
        flash_load(3u, other_tangent, row, depth, place.thread);
        workgroupBarrier();
        flash_multiply_both(scores, tangents, place);
        workgroupBarrier();
    }
}

fn flash_exp(x: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(math_exp(x.x), math_exp(x.y), math_exp(x.z), math_exp(x.w));
}

fn flash_weight(kind: u32, other: u32, quad: u32) -> u32 {
    return kind * FLASH_CELLS + other * FLASH_QUADS + (quad ^ (other / 4u));
}

// Weights of the invocation's own rows and others.
fn flash_put(kind: u32, weights: FlashScores, place: FlashPlace) {
    let other = 4u * place.j;
    flash_weights[flash_weight(kind, other, place.i)] = weights[0];
    flash_weights[flash_weight(kind, other + 1u, place.i)] = weights[1];
    flash_weights[flash_weight(kind, other + 2u, place.i)] = weights[2];
    flash_weights[flash_weight(kind, other + 3u, place.i)] = weights[3];
}

// Columns `column` .. + 32 of the 32 rows from `row` on, row-first: a vec4 is of columns 8 apart.
fn flash_load_columns(kind: u32, lines: FlashLines, row: u32, column: u32, thread: u32) {
    for (var cell = thread; cell < FLASH_CELLS; cell += FLASH_THREADS) {
        let r = row + cell / FLASH_QUADS;
        let c = column + cell % FLASH_QUADS;
        flash_tiles[kind * FLASH_CELLS + cell] = vec4<f32>(
            flash_value(lines, r, c),
            flash_value(lines, r, c + 8u),
            flash_value(lines, r, c + 16u),
            flash_value(lines, r, c + 24u),
        );
    }
}

fn flash_add_columns(sums: ptr<function, FlashSums>, at: u32, kind: u32, place: FlashPlace) {
    for (var other = 0u; other < FLASH_SIDE; other++) {
        let weight = flash_weights[flash_weight(kind, other, place.i)];
        let columns = flash_tiles[kind * FLASH_CELLS + other * FLASH_QUADS + place.j];
        (*sums)[at] += columns.x * weight;
        (*sums)[at + 1u] += columns.y * weight;
        (*sums)[at + 2u] += columns.z * weight;
        (*sums)[at + 3u] += columns.w * weight;
    }
}

// The columns whose sums begin at `at`.
fn flash_sum_part(
    sums: ptr<function, FlashSums>,
    at: u32,
    lines: FlashLines,
    tangent: FlashLines,
    row: u32,
    place: FlashPlace,
) {
    flash_load_columns(0u, lines, row, 8u * at, place.thread);
    if WEIGHTS > 1u { flash_load_columns(1u, tangent, row, 8u * at, place.thread); }
    workgroupBarrier();
    flash_add_columns(sums, at, 0u, place);
    if WEIGHTS > 1u { flash_add_columns(sums, at, 1u, place); }
    workgroupBarrier();
}

// Adds the 32 rows of `lines` from `row` on by the weights that have been put, and by those of the second kind, if there is one,
// the rows of `tangent`. Ends with a barrier.
fn flash_sum(
    sums: ptr<function, FlashSums>,
    lines: FlashLines,
    tangent: FlashLines,
    row: u32,
    place: FlashPlace,
) {
    flash_sum_part(sums, 0u, lines, tangent, row, place);
    if FLASH_PARTS > 1u { flash_sum_part(sums, 4u, lines, tangent, row, place); }
    if FLASH_PARTS > 2u { flash_sum_part(sums, 8u, lines, tangent, row, place); }
    if FLASH_PARTS > 3u { flash_sum_part(sums, 12u, lines, tangent, row, place); }
}

fn flash_store_part(part: u32, sums: ptr<function, FlashSums>, at: u32, place: FlashPlace) {
    let column = 8u * at + place.j;
    flash_store(part, column, (*sums)[at], place);
    flash_store(part, column + 8u, (*sums)[at + 1u], place);
    flash_store(part, column + 16u, (*sums)[at + 2u], place);
    flash_store(part, column + 24u, (*sums)[at + 3u], place);
}

// All sums by flash_store.
fn flash_store_all(part: u32, sums: ptr<function, FlashSums>, place: FlashPlace) {
    flash_store_part(part, sums, 0u, place);
    if FLASH_PARTS > 1u { flash_store_part(part, sums, 4u, place); }
    if FLASH_PARTS > 2u { flash_store_part(part, sums, 8u, place); }
    if FLASH_PARTS > 3u { flash_store_part(part, sums, 12u, place); }
}

fn flash_scale_part(sums: ptr<function, FlashSums>, at: u32, by: vec4<f32>) {
    (*sums)[at] *= by;
    (*sums)[at + 1u] *= by;
    (*sums)[at + 2u] *= by;
    (*sums)[at + 3u] *= by;
}

// Multiplies all sums of each own row.
fn flash_scale(sums: ptr<function, FlashSums>, by: vec4<f32>) {
    flash_scale_part(sums, 0u, by);
    if FLASH_PARTS > 1u { flash_scale_part(sums, 4u, by); }
    if FLASH_PARTS > 2u { flash_scale_part(sums, 8u, by); }
    if FLASH_PARTS > 3u { flash_scale_part(sums, 12u, by); }
}

// How many of an invocation's own rows there are.
fn flash_own_count(shape: FlashShape, place: FlashPlace) -> u32 {
    let row = place.first + 4u * place.i;
    return min(4u, shape.length - min(row, shape.length));
}

// The sum over the invocations that share own rows.
fn flash_over_others(value: vec4<f32>, place: FlashPlace) -> vec4<f32> {
    flash_weights[place.thread] = value;
    workgroupBarrier();
    let first = FLASH_QUADS * place.i;
    var sum = flash_weights[first];
    for (var j = 1u; j < FLASH_QUADS; j++) { sum += flash_weights[first + j]; }
    return sum;
}
