// Register-blocked tiles of a product for GPUs, the next one fetched while the current one is multiplied, for workgroups of
// 16 x 16. Tiles are 64 BLOCK_HALVES on a side and 16 / BLOCK_HALVES deep.
//
// An invocation makes 4 x 4 elements, or 8 x 8 with BLOCK_HALVES 2 (rows 4 y .. 4 y + 3 and 64 more, columns likewise), so that
// of every depth it reads 2 or 4 vec4s for 16 or 64 multiply-adds. It carries one vec4 of each operand's next tile in
// registers, from before the multiplications to after them, and puts it into the other of two tiles: one barrier a tile.
// Two tiles of both operands take 16 KiB, what WebGPU grants, so bank conflicts are avoided by a swizzle, not by padding:
//   - reads: 16 neighbours read 16 neighbouring vec4s of B, and all one vec4 of A;
//   - writes of an operand that is contiguous across its depth: neighbours write neighbouring vec4s;
//   - writes of one contiguous along its depth: 32 neighbours hold 32 / (DEPTH / 4) rows by DEPTH / 4 quads of depths, and
//     the swizzle puts these rows of each quad into another part of the 32 banks.
// With BLOCK_HALVES 2, 64 sums, 8 fetched and 16 read values take about 110 registers: two workgroups on a multiprocessor of
// 64 Ki registers, which is what hides the latency of global reads beside the fetch ahead.

override BLOCK_HALVES: u32 = 1u;

const BLOCK_SIDE: u32 = 16u; // invocations per side of a workgroup
const BLOCK_OPERAND: u32 = 256u; // vec4s of an operand's tile: one for each invocation

// Two tiles of A, then two of B, each depth-first, [depth][side], as vec4s along the side. In the end finished sums on
// their way through the epilogue: an invocation reads back only what it wrote.
var<workgroup> block_tiles: array<vec4<f32>, 1024>;

// Two vec4s (one for each half of the columns) for each of 8 rows.
alias BlockSums = array<vec4<f32>, 16>;

fn block_depth() -> u32 {
    return 16u / BLOCK_HALVES;
}

// vec4s along the side of a tile.
fn block_quads() -> u32 {
    return BLOCK_SIDE * BLOCK_HALVES;
}

// Where vec4 `quad` of a tile's side lies at `depth`.
fn block_place(depth: u32, quad: u32) -> u32 {
    return depth * block_quads() + (quad ^ (depth / 4u * 2u * BLOCK_HALVES));
}

// Into the tile that starts at `tile`.
fn block_put(tile: u32, along_depth: bool, thread: u32, carried: vec4<f32>) {
    if along_depth {
        let quads = block_depth() / 4u;
        let side = thread / quads;
        let at = tile + block_place(4u * (thread % quads), side / 4u);
        block_tiles[at][side % 4u] = carried.x;
        block_tiles[at + block_quads()][side % 4u] = carried.y;
        block_tiles[at + 2u * block_quads()][side % 4u] = carried.z;
        block_tiles[at + 3u * block_quads()][side % 4u] = carried.w;
    } else {
        block_tiles[tile + block_place(thread / block_quads(), thread % block_quads())] = carried;
    }
}

fn block_add_rows(sums: ptr<function, BlockSums>, first: u32, rows: vec4<f32>, left: vec4<f32>, right: vec4<f32>) {
    (*sums)[first] += rows.x * left;
    (*sums)[first + 2u] += rows.y * left;
    (*sums)[first + 4u] += rows.z * left;
    (*sums)[first + 6u] += rows.w * left;
    if BLOCK_HALVES > 1u {
        (*sums)[first + 1u] += rows.x * right;
        (*sums)[first + 3u] += rows.y * right;
        (*sums)[first + 5u] += rows.z * right;
        (*sums)[first + 7u] += rows.w * right;
    }
}

fn block_add_depth(sums: ptr<function, BlockSums>, row_at: u32, column_at: u32) {
    let left = block_tiles[column_at];
    var right = left;
    if BLOCK_HALVES > 1u { right = block_tiles[column_at + BLOCK_SIDE]; }
    block_add_rows(sums, 0u, block_tiles[row_at], left, right);
    if BLOCK_HALVES > 1u { block_add_rows(sums, 8u, block_tiles[row_at + BLOCK_SIDE], left, right); }
}

fn block_multiply(sums: ptr<function, BlockSums>, current: u32, local: vec2<u32>) {
    for (var depth = 0u; depth < block_depth(); depth += 4u) {
        let row_at = current * BLOCK_OPERAND + block_place(depth, local.y);
        let column_at = (2u + current) * BLOCK_OPERAND + block_place(depth, local.x);
        let next = block_quads();
        block_add_depth(sums, row_at, column_at);
        block_add_depth(sums, row_at + next, column_at + next);
        block_add_depth(sums, row_at + 2u * next, column_at + 2u * next);
        block_add_depth(sums, row_at + 3u * next, column_at + 3u * next);
    }
}

// Four rows of four sums on their way to the epilogue: through workgroup memory, so that one copy of the epilogue, in a loop
// whose rounds are not known to the compiler, serves all: sums indexed by the loop would not stay in registers.
fn block_hold(thread: u32, rows: mat4x4<f32>) {
    block_tiles[thread] = rows[0];
    block_tiles[thread + BLOCK_OPERAND] = rows[1];
    block_tiles[thread + 2u * BLOCK_OPERAND] = rows[2];
    block_tiles[thread + 3u * BLOCK_OPERAND] = rows[3];
}

fn block_held(thread: u32, row: u32) -> vec4<f32> {
    return block_tiles[thread + row * BLOCK_OPERAND];
}
