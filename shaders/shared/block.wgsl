// Register-blocked tiles of a product for GPUs, the next one fetched while the current one is multiplied, for workgroups of
// 16 x 16. Tiles are 64 BLOCK_ROW_HALVES x 64 BLOCK_COLUMN_HALVES elements and BLOCK_DEPTH deep.
//
// An invocation makes 4 x 4 elements, with BLOCK_ROW_HALVES 2 those 64 rows below too, with BLOCK_COLUMN_HALVES 2 those 64
// columns to the right. Words that it reads for a multiply-add: 0.5 of 64 x 64 tiles, 0.375 of 128 x 64 and 64 x 128, 0.25 of
// 128 x 128.
//
// Tiles are loaded in patches of 4 x 4 elements, a vec4 of each of four lines: the first BLOCK_A_LOADERS invocations load A's,
// the BLOCK_B_LOADERS behind them B's, and the rest, if any, nothing: at depth 16 whole subgroups of up to 64 lanes. A loader
// carries its patch in registers from before the multiplications to after them and puts it into the other of two tiles: one
// barrier a tile. Lines along the depth are transposed in registers, because four invocations may not write the components of
// one vec4 (shared/store_4.wgsl).
//
// Two tiles of both operands take 512 bytes for each half of a side and each depth, at most 32 KiB, which is what most adapters
// grant, so bank conflicts are avoided by a swizzle, not by padding. 8 neighbours move 8 vec4s at a time, which are all 32 banks;
// as sides are multiples of 8 vec4s, a depth begins at the first bank whatever the operand's side:
//   - reads: neighbours read neighbouring vec4s of either operand (block_cell);
//   - writes of lines across the depth: neighbours write neighbouring vec4s;
//   - writes of lines along it: 8 neighbours hold DEPTH / 4 quads of depths of 32 / DEPTH quads of lines, and the swizzle puts
//     these lines of each quad of depths into another part of the banks.
// In 128 x 128 tiles, 64 sums, 16 fetched and 16 read values take about 120 registers: two workgroups on a multiprocessor of
// 64 Ki registers, which is what hides the latency of global reads beside the fetch ahead.

override BLOCK_ROW_HALVES: u32 = 1u;
override BLOCK_COLUMN_HALVES: u32 = 1u;
// 16, or 8 where the workgroup memory for that is not granted.
override BLOCK_DEPTH: u32 = 16u;

const BLOCK_SIDE: u32 = 16u; // invocations per side of a workgroup
const BLOCK_INVOCATIONS: u32 = 256u;

// vec4s along the side of A's tile and of B's.
override BLOCK_ROW_QUADS: u32 = BLOCK_SIDE * BLOCK_ROW_HALVES;
override BLOCK_COLUMN_QUADS: u32 = BLOCK_SIDE * BLOCK_COLUMN_HALVES;
override BLOCK_A_LOADERS: u32 = BLOCK_ROW_QUADS * BLOCK_DEPTH / 4u;
override BLOCK_B_LOADERS: u32 = BLOCK_COLUMN_QUADS * BLOCK_DEPTH / 4u;
// vec4s of a tile of A and of B.
override BLOCK_A_CELLS: u32 = 4u * BLOCK_A_LOADERS;
override BLOCK_B_CELLS: u32 = 4u * BLOCK_B_LOADERS;
// Of both tiles of both, or what block_hold takes.
override BLOCK_CELLS: u32 = max(2u * (BLOCK_A_CELLS + BLOCK_B_CELLS), 4u * BLOCK_INVOCATIONS);

// Two tiles of A, then two of B, each depth-first, [depth][side], as vec4s along the side. In the end finished sums on
// their way through the epilogue: an invocation reads back only what it wrote.
var<workgroup> block_tiles: array<vec4<f32>, BLOCK_CELLS>;

// Column and row of an invocation among the 16 x 16 of a workgroup: 32 neighbours are 4 rows of 8, and read 4 + 8 vec4s of the
// tiles where 2 rows of 16 would read 2 + 16. On an H200 products take 3 per cent less.
fn block_cell(thread: u32) -> vec2<u32> {
    let neighbour = thread % 32u;
    let group = thread / 32u;
    let row = neighbour % 2u + neighbour / 16u * 2u;
    return vec2<u32>(group % 2u * 8u + neighbour / 2u % 8u, group / 2u * 4u + row);
}

// Two vec4s (one for each half of the columns) for each of 8 rows.
alias BlockSums = array<vec4<f32>, 16>;

// Four elements of each of four lines as they are stored, and which lines are there (block_bits); the others are read from
// somewhere and become zeros in the tile. To convert values when they are fetched, to choose between them and zeros, or to
// load each in a branch of its own would be to wait for them before the multiplications.
struct BlockPatch {
    line0: vec4<Real>,
    line1: vec4<Real>,
    line2: vec4<Real>,
    line3: vec4<Real>,
    there: u32,
}

fn block_bits(there: vec4<bool>) -> u32 {
    let bits = select(vec4<u32>(), vec4<u32>(1u, 2u, 4u, 8u), there);
    return bits.x | bits.y | bits.z | bits.w;
}

// Where vec4 `quad` of a tile's side of `quads` lies at `depth`.
fn block_place(depth: u32, quad: u32, quads: u32) -> u32 {
    return depth * quads + (quad ^ (depth / 4u * (32u / BLOCK_DEPTH)));
}

// Which operand an invocation loads (0: A, 1: B, 2: none), and which of its loaders it is.
fn block_loader(thread: u32) -> vec2<u32> {
    if thread < BLOCK_A_LOADERS { return vec2<u32>(0u, thread); }
    let other = thread - BLOCK_A_LOADERS;
    return vec2<u32>(select(2u, 1u, other < BLOCK_B_LOADERS), other);
}

// Side and depth within a tile of `quads` vec4s along its side at which a loader's patch begins; "across" says that lines run
// along the side, else along the depth. Neighbours lie together in memory.
fn block_patch(loader: u32, across: bool, quads: u32) -> vec2<u32> {
    if across { return 4u * vec2<u32>(loader % quads, loader / quads); }
    return 4u * vec2<u32>(loader / (BLOCK_DEPTH / 4u), loader % (BLOCK_DEPTH / 4u));
}

fn block_patch_a(loader: u32, across: bool) -> vec2<u32> {
    return block_patch(loader, across, BLOCK_ROW_QUADS);
}

fn block_patch_b(loader: u32, across: bool) -> vec2<u32> {
    return block_patch(loader, across, BLOCK_COLUMN_QUADS);
}

// Into the tiles of number `current` (0 or 1); `across` for A and for B.
fn block_put(current: u32, across: vec2<bool>, loader: vec2<u32>, lines: BlockPatch) {
    if loader.x == 0u {
        block_put_into(current * BLOCK_A_CELLS, BLOCK_ROW_QUADS, across.x, loader.y, lines);
    } else if loader.x == 1u {
        block_put_into(2u * BLOCK_A_CELLS + current * BLOCK_B_CELLS, BLOCK_COLUMN_QUADS, across.y, loader.y, lines);
    }
}

// Into the tile that starts at `tile`.
fn block_put_into(tile: u32, quads: u32, across: bool, loader: u32, lines: BlockPatch) {
    let at = block_patch(loader, across, quads);
    let none = vec4<f32>();
    var rows = mat4x4<f32>(select(none, vec4<f32>(lines.line0), (lines.there & 1u) != 0u),
                           select(none, vec4<f32>(lines.line1), (lines.there & 2u) != 0u),
                           select(none, vec4<f32>(lines.line2), (lines.there & 4u) != 0u),
                           select(none, vec4<f32>(lines.line3), (lines.there & 8u) != 0u));
    if !across { rows = transpose(rows); }
    let place = tile + block_place(at.y, at.x / 4u, quads);
    block_tiles[place] = rows[0];
    block_tiles[place + quads] = rows[1];
    block_tiles[place + 2u * quads] = rows[2];
    block_tiles[place + 3u * quads] = rows[3];
}

fn block_add_rows(sums: ptr<function, BlockSums>, first: u32, rows: vec4<f32>, left: vec4<f32>, right: vec4<f32>) {
    (*sums)[first] += rows.x * left;
    (*sums)[first + 2u] += rows.y * left;
    (*sums)[first + 4u] += rows.z * left;
    (*sums)[first + 6u] += rows.w * left;
    if BLOCK_COLUMN_HALVES > 1u {
        (*sums)[first + 1u] += rows.x * right;
        (*sums)[first + 3u] += rows.y * right;
        (*sums)[first + 5u] += rows.z * right;
        (*sums)[first + 7u] += rows.w * right;
    }
}

fn block_add_depth(sums: ptr<function, BlockSums>, row_at: u32, column_at: u32) {
    let left = block_tiles[column_at];
    var right = left;
    if BLOCK_COLUMN_HALVES > 1u { right = block_tiles[column_at + BLOCK_SIDE]; }
    block_add_rows(sums, 0u, block_tiles[row_at], left, right);
    if BLOCK_ROW_HALVES > 1u { block_add_rows(sums, 8u, block_tiles[row_at + BLOCK_SIDE], left, right); }
}

fn block_multiply(sums: ptr<function, BlockSums>, current: u32, cell: vec2<u32>) {
    for (var depth = 0u; depth < BLOCK_DEPTH; depth += 4u) {
        let row_at = current * BLOCK_A_CELLS + block_place(depth, cell.y, BLOCK_ROW_QUADS);
        let column_at = 2u * BLOCK_A_CELLS + current * BLOCK_B_CELLS + block_place(depth, cell.x, BLOCK_COLUMN_QUADS);
        block_add_depth(sums, row_at, column_at);
        block_add_depth(sums, row_at + BLOCK_ROW_QUADS, column_at + BLOCK_COLUMN_QUADS);
        block_add_depth(sums, row_at + 2u * BLOCK_ROW_QUADS, column_at + 2u * BLOCK_COLUMN_QUADS);
        block_add_depth(sums, row_at + 3u * BLOCK_ROW_QUADS, column_at + 3u * BLOCK_COLUMN_QUADS);
    }
}

// Four rows of four sums on their way to the epilogue: through workgroup memory, so that one copy of the epilogue, in a loop
// whose rounds are not known to the compiler, serves all: sums indexed by the loop would not stay in registers.
fn block_hold(thread: u32, rows: mat4x4<f32>) {
    block_tiles[thread] = rows[0];
    block_tiles[thread + BLOCK_INVOCATIONS] = rows[1];
    block_tiles[thread + 2u * BLOCK_INVOCATIONS] = rows[2];
    block_tiles[thread + 3u * BLOCK_INVOCATIONS] = rows[3];
}

fn block_held(thread: u32, row: u32) -> vec4<f32> {
    return block_tiles[thread + row * BLOCK_INVOCATIONS];
}
