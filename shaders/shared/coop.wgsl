// Tiles of a matrix product in workgroup memory, which the subgroups of a workgroup multiply as cooperative matrices.
// Needs CoopA, CoopB, CoopC (square matrices of Real, Real and f32) and COOP_SIDE (their side) from shared/coop_8.wgsl or
// shared/coop_16.wgsl.
//
// A tile is COOP_ROWS x COOP_COLUMNS shares of 4 x 2 fragments, each share being what a subgroup sums at a time. Both
// operands come in tiles of COOP_DEPTH terms, as quads of 4 elements; a tile lies "along" if its quads run along depth, and
// "across" if they run along its side. Lines of a tile end in COOP_PAD quads without meaning, so that the same depth of
// neighbouring lines lies in other banks; they also keep each fragment's lines at multiples of 16 bytes, as Vulkan asks.
//
// The host makes workgroups for one subgroup a share, but which size subgroups have is the driver's choice on many adapters
// (RDNA: 32 or 64). So shares are dealt out in rounds by subgroup_id and num_subgroups: with too few subgroups, a workgroup
// goes through its sums again for the shares that are left; with too many, those without a share compute another's once more
// and store nothing. Nothing here may be called where subgroups, or workgroups at a barrier, have parted ways.

const COOP_DEPTH: u32 = 32u;
const COOP_PAD: u32 = 2u;
const COOP_FRAGMENTS: u32 = 8u; // of a share

// Invocations of a workgroup: a multiple of the largest subgroup's.
override COOP_THREADS: u32 = 256u;
override COOP_ROWS: u32 = 2u;
override COOP_COLUMNS: u32 = 4u;
override COOP_A_ACROSS: bool = false;
override COOP_B_ACROSS: bool = false;

override COOP_SHARES: u32 = COOP_ROWS * COOP_COLUMNS;
override COOP_TILE_ROWS: u32 = 4u * COOP_SIDE * COOP_ROWS;
override COOP_TILE_COLUMNS: u32 = 2u * COOP_SIDE * COOP_COLUMNS;
// Cells of a tile that lies along, which is never fewer than across.
override COOP_A_CELLS: u32 = COOP_TILE_ROWS * (COOP_DEPTH / 4u + COOP_PAD) * COOP_QUAD_CELLS;
override COOP_B_CELLS: u32 = COOP_TILE_COLUMNS * (COOP_DEPTH / 4u + COOP_PAD) * COOP_QUAD_CELLS;
override COOP_C_WORDS: u32 = COOP_SHARES * COOP_SIDE * COOP_SIDE;

var<workgroup> coop_a: array<CoopCell, COOP_A_CELLS>;
var<workgroup> coop_b: array<CoopCell, COOP_B_CELLS>;
// A finished fragment of each share of a round, row-major.
var<workgroup> coop_c: array<f32, COOP_C_WORDS>;

// The sums of a share. naga's SPIR-V has no arrays of cooperative matrices.
struct CoopSums {
    s00: CoopC, s01: CoopC,
    s10: CoopC, s11: CoopC,
    s20: CoopC, s21: CoopC,
    s30: CoopC, s31: CoopC,
}

// Quads of a tile, and the line and the quad within it of number `i` of them: neighbours lie together in memory.
fn coop_quads(side: u32) -> u32 {
    return side * COOP_DEPTH / 4u;
}

fn coop_slot(i: u32, side: u32, across: bool) -> vec2<u32> {
    let quads = select(COOP_DEPTH, side, across) / 4u;
    return vec2<u32>(i / quads, i % quads);
}

// Quads from one line of a tile to the next.
fn coop_pitch(side: u32, across: bool) -> u32 {
    return select(COOP_DEPTH, side, across) / 4u + COOP_PAD;
}

fn coop_put_a(slot: vec2<u32>, value: vec4<Real>) {
    coop_write_a(slot.x * coop_pitch(COOP_TILE_ROWS, COOP_A_ACROSS) + slot.y, value);
}

fn coop_put_b(slot: vec2<u32>, value: vec4<Real>) {
    coop_write_b(slot.x * coop_pitch(COOP_TILE_COLUMNS, COOP_B_ACROSS) + slot.y, value);
}

// The fragment of A from `row` and `depth` of its tile; naga's coopLoadT takes lines as rows, its coopLoad as columns.
fn coop_fragment_a(row: u32, depth: u32) -> CoopA {
    let pitch = coop_pitch(COOP_TILE_ROWS, COOP_A_ACROSS);
    if COOP_A_ACROSS {
        return coopLoad<CoopA>(&coop_a[(depth * pitch + row / 4u) * COOP_QUAD_CELLS], pitch * COOP_QUAD_CELLS);
    }
    return coopLoadT<CoopA>(&coop_a[(row * pitch + depth / 4u) * COOP_QUAD_CELLS], pitch * COOP_QUAD_CELLS);
}

fn coop_fragment_b(depth: u32, column: u32) -> CoopB {
    let pitch = coop_pitch(COOP_TILE_COLUMNS, COOP_B_ACROSS);
    if COOP_B_ACROSS {
        return coopLoadT<CoopB>(&coop_b[(depth * pitch + column / 4u) * COOP_QUAD_CELLS], pitch * COOP_QUAD_CELLS);
    }
    return coopLoad<CoopB>(&coop_b[(column * pitch + depth / 4u) * COOP_QUAD_CELLS], pitch * COOP_QUAD_CELLS);
}

// The share that a subgroup sums in the round whose first share is `first`.
fn coop_share(first: u32, subgroup: u32) -> u32 {
    return min(first + subgroup, COOP_SHARES - 1u);
}

// First row and column within the tile of a share's `fragment`.
fn coop_corner(share: u32, fragment: u32) -> vec2<u32> {
    let row = 4u * (share / COOP_COLUMNS) + fragment / 2u;
    return COOP_SIDE * vec2<u32>(row, 2u * (share % COOP_COLUMNS) + fragment % 2u);
}

// Adds a share of the product of the tiles in workgroup memory.
fn coop_multiply(share: u32, sums: ptr<function, CoopSums>) {
    let at = coop_corner(share, 0u);
    for (var depth = 0u; depth < COOP_DEPTH; depth += COOP_SIDE) {
        let b0 = coop_fragment_b(depth, at.y);
        let b1 = coop_fragment_b(depth, at.y + COOP_SIDE);
        let a0 = coop_fragment_a(at.x, depth);
        (*sums).s00 = coopMultiplyAdd(a0, b0, (*sums).s00);
        (*sums).s01 = coopMultiplyAdd(a0, b1, (*sums).s01);
        let a1 = coop_fragment_a(at.x + COOP_SIDE, depth);
        (*sums).s10 = coopMultiplyAdd(a1, b0, (*sums).s10);
        (*sums).s11 = coopMultiplyAdd(a1, b1, (*sums).s11);
        let a2 = coop_fragment_a(at.x + 2u * COOP_SIDE, depth);
        (*sums).s20 = coopMultiplyAdd(a2, b0, (*sums).s20);
        (*sums).s21 = coopMultiplyAdd(a2, b1, (*sums).s21);
        let a3 = coop_fragment_a(at.x + 3u * COOP_SIDE, depth);
        (*sums).s30 = coopMultiplyAdd(a3, b0, (*sums).s30);
        (*sums).s31 = coopMultiplyAdd(a3, b1, (*sums).s31);
    }
}

// Leaves the `fragment` of each share of a round in coop_c.
fn coop_spill(first: u32, subgroup: u32, fragment: u32, sums: ptr<function, CoopSums>) {
    if first + subgroup < COOP_SHARES {
        let at = subgroup * COOP_SIDE * COOP_SIDE;
        switch fragment {
            case 0u: { coopStoreT((*sums).s00, &coop_c[at], COOP_SIDE); }
            case 1u: { coopStoreT((*sums).s01, &coop_c[at], COOP_SIDE); }
            case 2u: { coopStoreT((*sums).s10, &coop_c[at], COOP_SIDE); }
            case 3u: { coopStoreT((*sums).s11, &coop_c[at], COOP_SIDE); }
            case 4u: { coopStoreT((*sums).s20, &coop_c[at], COOP_SIDE); }
            case 5u: { coopStoreT((*sums).s21, &coop_c[at], COOP_SIDE); }
            case 6u: { coopStoreT((*sums).s30, &coop_c[at], COOP_SIDE); }
            default: { coopStoreT((*sums).s31, &coop_c[at], COOP_SIDE); }
        }
    }
}

// Elements that coop_spill has left, and the row and column within the tile of number `i` of them.
fn coop_spilt(first: u32, subgroups: u32) -> u32 {
    return min(subgroups, COOP_SHARES - first) * COOP_SIDE * COOP_SIDE;
}

fn coop_place(first: u32, fragment: u32, i: u32) -> vec2<u32> {
    let within = i % (COOP_SIDE * COOP_SIDE);
    let corner = coop_corner(first + i / (COOP_SIDE * COOP_SIDE), fragment);
    return corner + vec2<u32>(within / COOP_SIDE, within % COOP_SIDE);
}
