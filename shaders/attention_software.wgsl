// Attention's products for software adapters with subgroups of 4, 8 or 16 lanes: registers and shuffles, no workgroup tiles.
//
//   C (+)= scale A B for each head of each sample: see shared/attention.wgsl
//
// Shapes    scores [batch, heads, length, length]; vectors [batch, length, width], of which a head has head_dim elements. Any sizes;
//           bindings are whole vec4s.
// Dispatch  grid_1d(batch * heads * ceil(length / BLOCK) * ceil(columns / BLOCK), 1), folded, workgroups of one subgroup.
//
// As matmul_software.wgsl, which says why. Every operand is read_write because A, B and C may lie in one arena buffer.

override A_TRANSPOSED: bool = false;
override B_TRANSPOSED: bool = false;
override CAUSAL: bool = false;
// Lines of the operand begin at multiples of 4, so that vec4 reads line up.
override A_ALIGNED: bool = true;
override B_ALIGNED: bool = true;
// Lanes of a subgroup, and so of a workgroup: 4, 8 or 16.
override LANES: u32 = 8u;
override COLUMN_BLOCKS: u32 = 1u;
// Fewer than LANES where all rows are the first lanes': see shared/tile.wgsl.
override ROW_LANES: u32 = LANES;
// Whole vec4s that overwrite C: written straight from registers.
override DIRECT: bool = false;
override ACCUMULATE: bool = false;

override BLOCK: u32 = 4u * LANES; // rows or columns of a tile: 4 for each lane
const DEPTH_STEP: u32 = 4u;

var<immediate> values: AttentionProduct;
@group(0) @binding(0) var<storage, read_write> a: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> c: array<StoreOut>;

// A finished tile on its way to C, as [rows][LANES]. A lane reads back only what it wrote, so no barrier is needed.
var<workgroup> finished: array<vec4<f32>, BLOCK * LANES>;

// Elements `first` .. `first + 3` of the line of `extent` that begins at `start`; past its end the last one again.
fn a_vector(start: u32, first: u32, extent: u32) -> vec4<f32> {
    let at = start + first;
    if A_ALIGNED { return vec4<f32>(a[at / 4u]); }
    let i = min(vec4<u32>(at, at + 1u, at + 2u, at + 3u), vec4<u32>(start + extent - 1u));
    return vec4<f32>(vec4<Real>(a[i.x / 4u][i.x % 4u], a[i.y / 4u][i.y % 4u], a[i.z / 4u][i.z % 4u], a[i.w / 4u][i.w % 4u]));
}

fn b_vector(start: u32, first: u32, extent: u32) -> vec4<f32> {
    let at = start + first;
    if B_ALIGNED { return vec4<f32>(b[at / 4u]); }
    let i = min(vec4<u32>(at, at + 1u, at + 2u, at + 3u), vec4<u32>(start + extent - 1u));
    return vec4<f32>(vec4<Real>(b[i.x / 4u][i.x % 4u], b[i.y / 4u][i.y % 4u], b[i.z / 4u][i.z % 4u], b[i.w / 4u][i.w % 4u]));
}

// Where four lines from number `first` on begin; past the last of `count` that one again.
fn starts(lines: AttentionLines, first: u32, count: u32) -> vec4<u32> {
    return lines.base + lines.stride * min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(count - 1u));
}

// Zero from term `end` on; both operands, since a stray NaN times zero is NaN.
fn within_terms(block: mat4x4<f32>, depth: u32, end: u32) -> mat4x4<f32> {
    let none = vec4<f32>();
    return mat4x4<f32>(block[0],
                       select(none, block[1], depth + 1u < end),
                       select(none, block[2], depth + 2u < end),
                       select(none, block[3], depth + 3u < end));
}

// A(row .. row + 3, depth .. depth + 3) as one vec4 of rows for each depth; edges are repeated.
fn a_block(lines: AttentionLines, row: u32, depth: u32, end: u32) -> mat4x4<f32> {
    if !A_TRANSPOSED {
        let at = starts(lines, row, values.length);
        let extent = select(values.length, values.head_dim, B_TRANSPOSED);
        return within_terms(transpose(mat4x4<f32>(
            a_vector(at.x, depth, extent), a_vector(at.y, depth, extent),
            a_vector(at.z, depth, extent), a_vector(at.w, depth, extent))), depth, end);
    }
    let at = starts(lines, depth, values.length);
    let first = min(row, (values.length - 1u) / 4u * 4u);
    return within_terms(mat4x4<f32>(
        a_vector(at.x, first, values.length), a_vector(at.y, first, values.length),
        a_vector(at.z, first, values.length), a_vector(at.w, first, values.length)), depth, end);
}

// B(depth .. depth + 3, column .. column + 3) as one vec4 of columns for each depth.
fn b_block(lines: AttentionLines, column: u32, depth: u32, end: u32) -> mat4x4<f32> {
    if B_TRANSPOSED {
        let at = starts(lines, column, values.length);
        return within_terms(transpose(mat4x4<f32>(
            b_vector(at.x, depth, values.head_dim), b_vector(at.y, depth, values.head_dim),
            b_vector(at.z, depth, values.head_dim), b_vector(at.w, depth, values.head_dim))), depth, end);
    }
    let at = starts(lines, depth, values.length);
    let first = min(column, (values.head_dim - 1u) / 4u * 4u);
    return within_terms(mat4x4<f32>(
        b_vector(at.x, first, values.head_dim), b_vector(at.y, first, values.head_dim),
        b_vector(at.z, first, values.head_dim), b_vector(at.w, first, values.head_dim)), depth, end);
}

// Up to four neighbouring elements of a row of C.
fn write_vector(lines: AttentionLines, row: u32, column: u32, sums: vec4<f32>) {
    if column >= attention_columns() { return; }
    let at = lines.base + row * lines.stride + column;
    let count = attention_columns() - column;
    var value = values.scale * sums;
    if ACCUMULATE { value += store_held(at, count); }
    store_c(at, count, value);
}

struct Place {
    tile: AttentionTile,
    lane: u32,
}

// What becomes of the sums of 8 rows: see shared/tile.wgsl.
fn write_eight(sums: ptr<function, TileSums>, first: u32, place: Place) {
    let tile = place.tile;
    let lane = place.lane;
    let lines = attention_c(tile.head);
    let column = tile.column + 4u * lane;
    for (var i = first; i < first + 8u; i++) {
        if DIRECT {
            let row = tile.row + i;
            if row < values.length && column < attention_columns() {
                store_c(lines.base + row * lines.stride + column, 4u, values.scale * (*sums)[2u * i]);
            }
        } else {
            finished[i * LANES + lane] = (*sums)[2u * i];
        }
    }
}

@compute @workgroup_size(LANES)
fn attention_software(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = attention_tile(index_1d(workgroup, grid, 1u), vec2<u32>(BLOCK));
    if !tile.is_wanted { return; }
    let column = tile.column + 4u * lane;
    let a_lines = attention_a(tile.head);
    let b_lines = attention_b(tile.head);
    let terms = attention_terms(tile, BLOCK);
    var sums: TileSums;
    for (var depth = terms.x; depth < terms.y; depth += DEPTH_STEP) {
        let right = b_block(b_lines, column, depth, terms.y);
        tile_add_block(&sums, a_block(a_lines, tile.row + 4u * lane, depth, terms.y), right, right);
    }
    tile_write(&sums, Place(tile, lane));
    if DIRECT { return; }
    let lines = attention_c(tile.head);
    let rows = min(BLOCK, values.length - tile.row);
    for (var i = 0u; i < rows; i++) {
        write_vector(lines, tile.row + i, column, finished[i * LANES + lane]);
    }
}
