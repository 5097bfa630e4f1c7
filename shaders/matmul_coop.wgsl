// Matrix product by cooperative matrices (tensor cores), whose operands are f16 or f32 and whose sums are f32.
//
//   C[m, n] = epilogue( sum_k A[m, k] B[k, n] )
//   with Z workgroups in z, C[z, m, n] = the z-th of Z parts of that sum, which split_sum.wgsl adds up
//
// Shapes    A: [m, k], or [k, m] with COOP_A_ACROSS; B: [k, n], with COOP_B_ACROSS, or [n, k]; C: [m, n]; row-major.
//           aux: bias [n] (EPILOGUE 1) or what forward saved [m, n] (EPILOGUE 2); pre: [m, n] with STORE_PRE.
//           Any sizes. A and B are bound as whole vec4s of 32 bits.
// Epilogue  as in matmul_block.wgsl; parts take none.
// Dispatch  [ceil(n / COOP_TILE_COLUMNS), ceil(m / COOP_TILE_ROWS), parts] workgroups of COOP_THREADS.
//
// No load of the loop asks for an edge: past the last row or column it takes the last one again, of whose sums nothing is
// stored, and the tile that the end of the sum cuts off, of which the rest has to be zero, comes first, before the loop.
// Stores are whole vec4s where n is a multiple of 4 (shared/store_4.wgsl) and else elements (shared/store_1.wgsl).
// Every operand is read_write because A, B and C may lie in one arena buffer.
enable wgpu_cooperative_matrix;

// The contiguous extent of the operand is a multiple of 8, so that octets line up.
override A_ALIGNED: bool = false;
override B_ALIGNED: bool = false;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

struct Product {
    m: u32,
    n: u32,
    k: u32,
}

var<immediate> values: Product;
@group(0) @binding(0) var<storage, read_write> a: array<CoopStored>;
@group(0) @binding(1) var<storage, read_write> b: array<CoopStored>;
@group(0) @binding(2) var<storage, read_write> aux: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<StoreOut>;
@group(0) @binding(4) var<storage, read_write> pre: array<PreReal>;

// Where an invocation's octets lie from number `first` on, of an operand with `side` rows or columns and of its tile with `tile`
// of them that begins at `corner` (side, depth). Past the operand's edges the last ones again.
fn places(first: u32, loader: vec2<u32>, side: u32, tile: u32, corner: vec2<u32>, across: bool) -> vec4<u32> {
    let line = coop_lines_from(first, loader, tile, across);
    if across {
        return min(corner.y + line, vec4<u32>(values.k - 1u)) * (side / 8u) + min(corner.x / 8u + loader.y, side / 8u - 1u);
    }
    return min(corner.x + line, vec4<u32>(side - 1u)) * (values.k / 8u) + min(corner.y / 8u + loader.y, values.k / 8u - 1u);
}

// Which of them are terms of the sum (CoopPlaces).
fn there(first: u32, loader: vec2<u32>, tile: u32, depth: u32, across: bool) -> u32 {
    if across {
        return coop_bits(depth + coop_lines_from(first, loader, tile, across) < vec4<u32>(values.k));
    }
    return select(0u, COOP_FOUR, depth + 8u * loader.y < values.k);
}

// Octets from one depth to the next that is a multiple of 8, of which `depth` is so many further.
fn way(depth: u32, side: u32, across: bool) -> u32 {
    if across { return depth * (side / 8u); }
    return depth / 8u;
}

fn a_element(at: u32, there: bool) -> CoopElement {
    if there { return coop_element_a(at); }
    return CoopElement();
}

// Elements `first` .. `first` + 7 of a line of A as it lies in memory; zeros outside.
fn a_octet(line: u32, first: u32) -> CoopOctet {
    let width = select(values.k, values.m, COOP_A_ACROSS);
    let lines = select(values.m, values.k, COOP_A_ACROSS);
    let at = line * width + first;
    let left = select(0u, width - first, line < lines && first < width);
    return CoopOctet(coop_quad(a_element(at, left > 0u), a_element(at + 1u, left > 1u),
                               a_element(at + 2u, left > 2u), a_element(at + 3u, left > 3u)),
                     coop_quad(a_element(at + 4u, left > 4u), a_element(at + 5u, left > 5u),
                               a_element(at + 6u, left > 6u), a_element(at + 7u, left > 7u)));
}

// Octets from number `first` on of any tile, that which begins at `corner` (side, depth).
fn any_a(first: u32, loader: vec2<u32>, corner: vec2<u32>) -> CoopCarried {
    if A_ALIGNED {
        let at = places(first, loader, values.m, COOP_TILE_ROWS, corner, COOP_A_ACROSS);
        return coop_masked(coop_fetch_a(at, there(first, loader, COOP_TILE_ROWS, corner.y, COOP_A_ACROSS)));
    }
    let start = select(corner, corner.yx, COOP_A_ACROSS);
    let line = start.x + coop_lines_from(first, loader, COOP_TILE_ROWS, COOP_A_ACROSS);
    let octet = start.y + 8u * loader.y;
    var carried: CoopCarried;
    carried.v0 = a_octet(line.x, octet);
    if coop_brings(1u, COOP_TILE_ROWS) { carried.v1 = a_octet(line.y, octet); }
    if coop_brings(2u, COOP_TILE_ROWS) { carried.v2 = a_octet(line.z, octet); }
    if coop_brings(3u, COOP_TILE_ROWS) { carried.v3 = a_octet(line.w, octet); }
    return carried;
}

fn b_element(at: u32, there: bool) -> CoopElement {
    if there { return coop_element_b(at); }
    return CoopElement();
}

// Elements `first` .. `first` + 7 of a line of B as it lies in memory; zeros outside.
fn b_octet(line: u32, first: u32) -> CoopOctet {
    let width = select(values.k, values.n, COOP_B_ACROSS);
    let lines = select(values.n, values.k, COOP_B_ACROSS);
    let at = line * width + first;
    let left = select(0u, width - first, line < lines && first < width);
    return CoopOctet(coop_quad(b_element(at, left > 0u), b_element(at + 1u, left > 1u),
                               b_element(at + 2u, left > 2u), b_element(at + 3u, left > 3u)),
                     coop_quad(b_element(at + 4u, left > 4u), b_element(at + 5u, left > 5u),
                               b_element(at + 6u, left > 6u), b_element(at + 7u, left > 7u)));
}

// Octets from number `first` on of any tile, that which begins at `corner` (side, depth).
fn any_b(first: u32, loader: vec2<u32>, corner: vec2<u32>) -> CoopCarried {
    if B_ALIGNED {
        let at = places(first, loader, values.n, COOP_TILE_COLUMNS, corner, COOP_B_ACROSS);
        return coop_masked(coop_fetch_b(at, there(first, loader, COOP_TILE_COLUMNS, corner.y, COOP_B_ACROSS)));
    }
    let start = select(corner, corner.yx, COOP_B_ACROSS);
    let line = start.x + coop_lines_from(first, loader, COOP_TILE_COLUMNS, COOP_B_ACROSS);
    let octet = start.y + 8u * loader.y;
    var carried: CoopCarried;
    carried.v0 = b_octet(line.x, octet);
    if coop_brings(1u, COOP_TILE_COLUMNS) { carried.v1 = b_octet(line.y, octet); }
    if coop_brings(2u, COOP_TILE_COLUMNS) { carried.v2 = b_octet(line.z, octet); }
    if coop_brings(3u, COOP_TILE_COLUMNS) { carried.v3 = b_octet(line.w, octet); }
    return carried;
}

// Puts the octets that are too many to be carried into the tiles.
fn put_rest(loader_a: vec2<u32>, loader_b: vec2<u32>, corner: vec2<u32>, depth: u32) {
    for (var first = 4u; coop_brings(first, COOP_TILE_ROWS); first += 4u) {
        coop_put_a(first, loader_a, any_a(first, loader_a, vec2<u32>(corner.x, depth)));
    }
    for (var first = 4u; coop_brings(first, COOP_TILE_COLUMNS); first += 4u) {
        coop_put_b(first, loader_b, any_b(first, loader_b, vec2<u32>(corner.y, depth)));
    }
}

// The bias of four columns, or what was saved for four elements: the first `count`, and the last of these again.
fn aux_quad(at: u32, count: u32) -> vec4<f32> {
    let i = at + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(count - 1u));
    return vec4<f32>(vec4<Real>(aux[i.x], aux[i.y], aux[i.z], aux[i.w]));
}

// Up to four elements of a row, nothing outside of C.
fn store(start: u32, row: u32, column: u32, sums: vec4<f32>) {
    if row >= values.m || column >= values.n { return; }
    let at = start + row * values.n + column;
    let count = values.n - column;
    var value = sums;
    if EPILOGUE == 1u {
        value += aux_quad(column, count);
        if STORE_PRE { pre_store(at, count, value); }
        value = activation_forward_vec4(ACTIVATION, value);
    } else if EPILOGUE == 2u {
        value *= activation_gradient_vec4(ACTIVATION, aux_quad(at, count));
    }
    if ACCUMULATE { value += store_held(at, count); }
    store_c(at, count, value);
}

@compute @workgroup_size(COOP_THREADS)
fn matmul_coop(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let corner = vec2<u32>(workgroup.y * COOP_TILE_ROWS, workgroup.x * COOP_TILE_COLUMNS);
    let loader_a = coop_loader(thread, COOP_TILE_ROWS, COOP_A_ACROSS);
    let loader_b = coop_loader(thread, COOP_TILE_COLUMNS, COOP_B_ACROSS);
    let part = part_of_sum(workgroup.z, grid.z, values.k, COOP_DEPTH);
    let terms = part.y - part.x;
    let cut = part.y - terms % COOP_DEPTH; // where the tile begins that the end cuts off
    let last = part.x + max(terms / COOP_DEPTH, 1u) * COOP_DEPTH - COOP_DEPTH; // of the whole ones
    let places_a = places(0u, loader_a, values.m, COOP_TILE_ROWS, vec2<u32>(corner.x, part.x), COOP_A_ACROSS);
    let places_b = places(0u, loader_b, values.n, COOP_TILE_COLUMNS, vec2<u32>(corner.y, part.x), COOP_B_ACROSS);
    for (var first = 0u; first < COOP_SHARES; first += subgroups) {
        let share = coop_share(first, subgroup);
        var depth = select(part.x, cut, cut < part.y);
        var next = select(part.x + COOP_DEPTH, part.x, cut < part.y);
        var carried_a = any_a(0u, loader_a, vec2<u32>(corner.x, depth));
        var carried_b = any_b(0u, loader_b, vec2<u32>(corner.y, depth));
        var sums: CoopSums;
        for (var term = 0u; term < terms; term += COOP_DEPTH) {
            coop_put_a(0u, loader_a, carried_a);
            coop_put_b(0u, loader_b, carried_b);
            put_rest(loader_a, loader_b, corner, depth);
            workgroupBarrier();
            // After the last tile this one again, for nobody: not to ask is faster.
            depth = min(next, last);
            next += COOP_DEPTH;
            if A_ALIGNED {
                carried_a = coop_fetch_a(places_a + way(depth - part.x, values.m, COOP_A_ACROSS), COOP_FOUR);
            } else {
                carried_a = any_a(0u, loader_a, vec2<u32>(corner.x, depth));
            }
            if B_ALIGNED {
                carried_b = coop_fetch_b(places_b + way(depth - part.x, values.n, COOP_B_ACROSS), COOP_FOUR);
            } else {
                carried_b = any_b(0u, loader_b, vec2<u32>(corner.y, depth));
            }
            coop_multiply(share, &sums);
            workgroupBarrier();
        }
        for (var pair = 0u; pair < COOP_PAIRS; pair++) {
            let place = coop_pair(pair);
            coop_spill(first, subgroup, 2u * place.x + place.y, &sums);
            workgroupBarrier();
            for (var i = thread; i < coop_spilt(first, subgroups); i += COOP_THREADS) {
                let at = corner + coop_place(first, place, i);
                store(workgroup.z * values.m * values.n, at.x, at.y, coop_found(i));
            }
            workgroupBarrier();
        }
    }
}
