// Tiles of a matrix product in workgroup memory, which the subgroups of a workgroup multiply as cooperative matrices.
// Needs the matrices CoopA, CoopB and CoopC, their side and the way from operands to tiles from shared/coop_8.wgsl or
// shared/coop_16.wgsl.
//
// A tile is 2 x 2 shares, each of COOP_SHARE x COOP_SHARE matrices and summed by one subgroup. Both operands come in
// tiles of COOP_DEPTH terms; such a tile lies "along" if its lines run along depth, and "across" if they run along its side.
// Lines end in COOP_PAD quads (4 elements) without meaning, so that the same depth of neighbouring lines lies in other banks;
// they also keep each matrix' lines at multiples of 16 bytes, as Vulkan asks.
//
// An invocation brings octets (8 elements) of a tile, the same octet of every COOP_THREADS / octets-th line. Four of each
// operand it carries in registers while the tiles before are multiplied: on an H200 that was two to three times as fast as
// loading between the barriers, and twice as fast as two tiles in turn in workgroup memory. Where a workgroup is so small that
// there are more, the others come between the barriers.
//
// The host makes workgroups for one subgroup a share, but which size subgroups have is the driver's choice on many adapters
// (RDNA: 32 or 64). So shares are dealt out in rounds by subgroup_id and num_subgroups: with too few subgroups, a workgroup
// goes through its sums again for the shares that are left; with too many, those without a share compute another's once more
// and store nothing. Nothing here may be called where subgroups, or workgroups at a barrier, have parted ways.

const COOP_DEPTH: u32 = 32u;
const COOP_PAD: u32 = 2u;
const COOP_ROWS: u32 = 2u; // of shares
const COOP_COLUMNS: u32 = 2u;
const COOP_SHARES: u32 = COOP_ROWS * COOP_COLUMNS;
// Quads of a line of two matrices that lie side by side, and from one such line to the next: 4 lines apart are other banks.
const COOP_SUM_QUADS: u32 = 2u * COOP_SIDE / 4u;
const COOP_SUM_PITCH: u32 = COOP_SUM_QUADS + 2u;

// Invocations of a workgroup: a multiple of the largest subgroup's, and of 16.
override COOP_THREADS: u32 = 128u;
// Matrices of a share: 2 or 4 each.
override COOP_SHARE: u32 = 4u;
override COOP_A_ACROSS: bool = false;
override COOP_B_ACROSS: bool = false;
// Lines of B behind its tile, which lies across if there are any.
override COOP_BEHIND: u32 = 0u;

override COOP_TILE_ROWS: u32 = COOP_ROWS * COOP_SHARE * COOP_SIDE;
override COOP_TILE_COLUMNS: u32 = COOP_COLUMNS * COOP_SHARE * COOP_SIDE;
override COOP_PAIRS: u32 = COOP_SHARE * COOP_SHARE / 2u; // of a share's matrices, side by side
// Cells of a tile that lies along, which is never fewer than across.
override COOP_A_CELLS: u32 = COOP_TILE_ROWS * (COOP_DEPTH / 4u + COOP_PAD) * COOP_QUAD_CELLS;
override COOP_QUADS_BEHIND: u32 = COOP_BEHIND * (COOP_TILE_COLUMNS / 4u + COOP_PAD);
override COOP_B_CELLS: u32 = (COOP_TILE_COLUMNS * (COOP_DEPTH / 4u + COOP_PAD) + COOP_QUADS_BEHIND) * COOP_QUAD_CELLS;

var<workgroup> coop_a: array<CoopCell, COOP_A_CELLS>;
var<workgroup> coop_b: array<CoopCell, COOP_B_CELLS>;
// Two finished matrices of each share of a round, side by side.
var<workgroup> coop_c: array<CoopSum, COOP_SHARES * COOP_SIDE * COOP_SUM_PITCH * COOP_QUAD_CELLS>;

// The sums of a share; naga's SPIR-V has no arrays of cooperative matrices. What a smaller share leaves out, compilers do too.
struct CoopSums {
    s00: CoopC, s01: CoopC, s02: CoopC, s03: CoopC,
    s10: CoopC, s11: CoopC, s12: CoopC, s13: CoopC,
    s20: CoopC, s21: CoopC, s22: CoopC, s23: CoopC,
    s30: CoopC, s31: CoopC, s32: CoopC, s33: CoopC,
}

// Octets on their way into a tile. Bit i of `there` says that the first quad of number i counts, bit 4 + i that the second does;
// the others are zero.
struct CoopCarried {
    v0: CoopOctet,
    v1: CoopOctet,
    v2: CoopOctet,
    v3: CoopOctet,
    there: u32,
}

const COOP_ALL_THERE: u32 = 0xFFu;

// Where four lines' quads or octets lie, those that are not there at 0; bit i of `there` says that number i is.
struct CoopPlaces {
    at: vec4<u32>,
    there: u32,
}

const COOP_FOUR: u32 = 0xFu; // all of them

fn coop_bits(there: vec4<bool>) -> u32 {
    let bits = select(vec4<u32>(), vec4<u32>(1u, 2u, 4u, 8u), there);
    return bits.x | bits.y | bits.z | bits.w;
}

fn coop_places(at: vec4<u32>, there: vec4<bool>) -> CoopPlaces {
    return CoopPlaces(select(vec4<u32>(), at, there), coop_bits(there));
}

fn coop_lines(side: u32, across: bool) -> u32 {
    return select(side, COOP_DEPTH, across);
}

// Octets of a line.
fn coop_octets(side: u32, across: bool) -> u32 {
    return select(COOP_DEPTH, side, across) / 8u;
}

// Lines from one octet that an invocation brings to its next.
fn coop_step(side: u32, across: bool) -> u32 {
    return COOP_THREADS / coop_octets(side, across);
}

// The first line of an invocation, and the octet of each line that it brings.
fn coop_loader(thread: u32, side: u32, across: bool) -> vec2<u32> {
    let octets = coop_octets(side, across);
    return vec2<u32>(thread / octets, thread % octets);
}

// Whether an invocation brings more than `count` octets.
fn coop_brings(count: u32, side: u32) -> bool {
    return count * COOP_THREADS < side * COOP_DEPTH / 8u;
}

// The lines of a loader's octets from number `first` on, within the tile: past its end the last line.
fn coop_lines_from(first: u32, loader: vec2<u32>, side: u32, across: bool) -> vec4<u32> {
    let number = first + vec4<u32>(0u, 1u, 2u, 3u);
    return min(loader.x + number * coop_step(side, across), vec4<u32>(coop_lines(side, across) - 1u));
}

// Quads from one line of a tile to the next.
fn coop_pitch(side: u32, across: bool) -> u32 {
    return 2u * coop_octets(side, across) + COOP_PAD;
}

// Whether the tile has a line for a loader's octet `number`; known to the compiler where the invocations fill it.
fn coop_has(number: u32, loader: vec2<u32>, side: u32, across: bool) -> bool {
    let lines = coop_lines(side, across);
    let step = coop_step(side, across);
    return number * step < lines && ((number + 1u) * step <= lines || loader.x + number * step < lines);
}

fn coop_quad_at(number: u32, loader: vec2<u32>, side: u32, across: bool) -> u32 {
    return (loader.x + number * coop_step(side, across)) * coop_pitch(side, across) + 2u * loader.y;
}

// Octets of A at four places, those that the invocation brings; which of them are there, `there` says as in CoopPlaces.
fn coop_fetch_a(at: vec4<u32>, there: u32) -> CoopCarried {
    var carried: CoopCarried;
    carried.v0 = coop_octet_a(at.x);
    if coop_brings(1u, COOP_TILE_ROWS) { carried.v1 = coop_octet_a(at.y); }
    if coop_brings(2u, COOP_TILE_ROWS) { carried.v2 = coop_octet_a(at.z); }
    if coop_brings(3u, COOP_TILE_ROWS) { carried.v3 = coop_octet_a(at.w); }
    carried.there = there | (there << 4u);
    return carried;
}

fn coop_fetch_b(at: vec4<u32>, there: u32) -> CoopCarried {
    var carried: CoopCarried;
    carried.v0 = coop_octet_b(at.x);
    if coop_brings(1u, COOP_TILE_COLUMNS) { carried.v1 = coop_octet_b(at.y); }
    if coop_brings(2u, COOP_TILE_COLUMNS) { carried.v2 = coop_octet_b(at.z); }
    if coop_brings(3u, COOP_TILE_COLUMNS) { carried.v3 = coop_octet_b(at.w); }
    carried.there = there | (there << 4u);
    return carried;
}

fn coop_put_one_a(number: u32, loader: vec2<u32>, octet: CoopOctet) {
    if coop_has(number, loader, COOP_TILE_ROWS, COOP_A_ACROSS) {
        coop_write_a(coop_quad_at(number, loader, COOP_TILE_ROWS, COOP_A_ACROSS), octet);
    }
}

fn coop_put_one_b(number: u32, loader: vec2<u32>, octet: CoopOctet) {
    if coop_has(number, loader, COOP_TILE_COLUMNS, COOP_B_ACROSS) {
        coop_write_b(coop_quad_at(number, loader, COOP_TILE_COLUMNS, COOP_B_ACROSS), octet);
    }
}

// Puts octets from number `first` on into the tile.
fn coop_put_a(first: u32, loader: vec2<u32>, carried: CoopCarried) {
    coop_put_one_a(first, loader, carried.v0);
    coop_put_one_a(first + 1u, loader, carried.v1);
    coop_put_one_a(first + 2u, loader, carried.v2);
    coop_put_one_a(first + 3u, loader, carried.v3);
}

fn coop_put_b(first: u32, loader: vec2<u32>, carried: CoopCarried) {
    coop_put_one_b(first, loader, carried.v0);
    coop_put_one_b(first + 1u, loader, carried.v1);
    coop_put_one_b(first + 2u, loader, carried.v2);
    coop_put_one_b(first + 3u, loader, carried.v3);
}

// Zeros where nothing is there. Only now, not when it was loaded: to look at a value is to wait for it.
fn coop_masked(carried: CoopCarried) -> CoopCarried {
    let bits = vec4<u32>(1u, 2u, 4u, 8u);
    let first = (vec4<u32>(carried.there) & bits) != vec4<u32>();
    let second = (vec4<u32>(carried.there >> 4u) & bits) != vec4<u32>();
    return CoopCarried(coop_kept(carried.v0, first.x, second.x), coop_kept(carried.v1, first.y, second.y),
                       coop_kept(carried.v2, first.z, second.z), coop_kept(carried.v3, first.w, second.w), COOP_ALL_THERE);
}

// A matrix of A from `row` and `depth` of its tile; naga's coopLoadT takes lines as rows, its coopLoad as columns.
fn coop_matrix_a(row: u32, depth: u32) -> CoopA {
    let pitch = coop_pitch(COOP_TILE_ROWS, COOP_A_ACROSS);
    if COOP_A_ACROSS {
        return coopLoad<CoopA>(&coop_a[(depth * pitch + row / 4u) * COOP_QUAD_CELLS], pitch * COOP_QUAD_CELLS);
    }
    return coopLoadT<CoopA>(&coop_a[(row * pitch + depth / 4u) * COOP_QUAD_CELLS], pitch * COOP_QUAD_CELLS);
}

fn coop_matrix_b(depth: u32, column: u32) -> CoopB {
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

// First row and column of a share within the tile.
fn coop_corner(share: u32) -> vec2<u32> {
    let place = vec2<u32>(share / COOP_COLUMNS, share % COOP_COLUMNS);
    return COOP_SIDE * COOP_SHARE * place;
}

// Adds COOP_SIDE terms, from `depth` of the tiles on, to the share at `at`.
fn coop_multiply_matrices(at: vec2<u32>, depth: u32, sums: ptr<function, CoopSums>) {
    let a0 = coop_matrix_a(at.x, depth);
    let a1 = coop_matrix_a(at.x + COOP_SIDE, depth);
    var a2: CoopA;
    var a3: CoopA;
    if COOP_SHARE > 2u {
        a2 = coop_matrix_a(at.x + 2u * COOP_SIDE, depth);
        a3 = coop_matrix_a(at.x + 3u * COOP_SIDE, depth);
    }
    let b0 = coop_matrix_b(depth, at.y);
    (*sums).s00 = coopMultiplyAdd(a0, b0, (*sums).s00);
    (*sums).s10 = coopMultiplyAdd(a1, b0, (*sums).s10);
    if COOP_SHARE > 2u {
        (*sums).s20 = coopMultiplyAdd(a2, b0, (*sums).s20);
        (*sums).s30 = coopMultiplyAdd(a3, b0, (*sums).s30);
    }
    let b1 = coop_matrix_b(depth, at.y + COOP_SIDE);
    (*sums).s01 = coopMultiplyAdd(a0, b1, (*sums).s01);
    (*sums).s11 = coopMultiplyAdd(a1, b1, (*sums).s11);
    if COOP_SHARE > 2u {
        (*sums).s21 = coopMultiplyAdd(a2, b1, (*sums).s21);
        (*sums).s31 = coopMultiplyAdd(a3, b1, (*sums).s31);
    }
    if COOP_SHARE > 2u {
        let b2 = coop_matrix_b(depth, at.y + 2u * COOP_SIDE);
        (*sums).s02 = coopMultiplyAdd(a0, b2, (*sums).s02);
        (*sums).s12 = coopMultiplyAdd(a1, b2, (*sums).s12);
        let b3 = coop_matrix_b(depth, at.y + 3u * COOP_SIDE);
        (*sums).s03 = coopMultiplyAdd(a0, b3, (*sums).s03);
        (*sums).s13 = coopMultiplyAdd(a1, b3, (*sums).s13);
        (*sums).s22 = coopMultiplyAdd(a2, b2, (*sums).s22);
        (*sums).s32 = coopMultiplyAdd(a3, b2, (*sums).s32);
        (*sums).s23 = coopMultiplyAdd(a2, b3, (*sums).s23);
        (*sums).s33 = coopMultiplyAdd(a3, b3, (*sums).s33);
    }
}

// Adds a share of the product of the tiles in workgroup memory.
fn coop_multiply(share: u32, sums: ptr<function, CoopSums>) {
    let at = coop_corner(share);
    coop_multiply_matrices(at, 0u, sums);
    if COOP_SIDE == 8u { coop_multiply_matrices(at, 8u, sums); }
    coop_multiply_matrices(at, 16u, sums);
    if COOP_SIDE == 8u { coop_multiply_matrices(at, 24u, sums); }
}

// Row of matrices within a share, and half of that row, of its `pair`.
fn coop_pair(pair: u32) -> vec2<u32> {
    let halves = COOP_SHARE / 2u;
    return vec2<u32>(pair / halves, pair % halves);
}

// Leaves pair `number` of the sums of each share of a round, counted along CoopSums, in coop_c.
fn coop_spill(first: u32, subgroup: u32, number: u32, sums: ptr<function, CoopSums>) {
    if first + subgroup < COOP_SHARES {
        let left = subgroup * COOP_SIDE * COOP_SUM_PITCH * COOP_QUAD_CELLS;
        let right = left + COOP_SIDE / 4u * COOP_QUAD_CELLS;
        let pitch = COOP_SUM_PITCH * COOP_QUAD_CELLS;
        switch number {
            case 0u: { coopStoreT((*sums).s00, &coop_c[left], pitch); coopStoreT((*sums).s01, &coop_c[right], pitch); }
            case 1u: { coopStoreT((*sums).s02, &coop_c[left], pitch); coopStoreT((*sums).s03, &coop_c[right], pitch); }
            case 2u: { coopStoreT((*sums).s10, &coop_c[left], pitch); coopStoreT((*sums).s11, &coop_c[right], pitch); }
            case 3u: { coopStoreT((*sums).s12, &coop_c[left], pitch); coopStoreT((*sums).s13, &coop_c[right], pitch); }
            case 4u: { coopStoreT((*sums).s20, &coop_c[left], pitch); coopStoreT((*sums).s21, &coop_c[right], pitch); }
            case 5u: { coopStoreT((*sums).s22, &coop_c[left], pitch); coopStoreT((*sums).s23, &coop_c[right], pitch); }
            case 6u: { coopStoreT((*sums).s30, &coop_c[left], pitch); coopStoreT((*sums).s31, &coop_c[right], pitch); }
            default: { coopStoreT((*sums).s32, &coop_c[left], pitch); coopStoreT((*sums).s33, &coop_c[right], pitch); }
        }
    }
}

// Quads that coop_spill has left, and row and column within the tile of number `i` of them, of pairs at `place` in their shares,
// and its sums.
fn coop_spilt(first: u32, subgroups: u32) -> u32 {
    return min(subgroups, COOP_SHARES - first) * COOP_SIDE * COOP_SUM_QUADS;
}

fn coop_place(first: u32, place: vec2<u32>, i: u32) -> vec2<u32> {
    let line = i / COOP_SUM_QUADS;
    let within = vec2<u32>(line % COOP_SIDE, 4u * (i % COOP_SUM_QUADS));
    return coop_corner(first + line / COOP_SIDE) + COOP_SIDE * vec2<u32>(place.x, 2u * place.y) + within;
}

fn coop_found(i: u32) -> vec4<f32> {
    return coop_sum(i / COOP_SUM_QUADS * COOP_SUM_PITCH + i % COOP_SUM_QUADS);
}
