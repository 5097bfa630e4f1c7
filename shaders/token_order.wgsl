// Rows by their tokens: a sort without atomics, which leaves rows of one token in their order, and so always the same.
//
//   order = the rows by (token, row);  starts[v] = how many rows have a token below v
//
//   STEP 0  within blocks of BLOCK rows: a row comes after those of its block that are less
//   STEP 1  over all: a row's place in its block, and of every other block how many are less, by binary search
//   STEP 2  starts, by binary search
//
// Shapes    tokens, order: [rows]; keys: [3, rows], the blocks' tokens and rows, and all tokens in order; starts: [vocabulary + 1].
//           A token past the vocabulary is taken for the last.
// Dispatch  grid_1d(rows, of STEP 2 vocabulary + 1; WORKGROUP_SIZE), folded; a row or a token an invocation, no workgroup memory.

override WORKGROUP_SIZE: u32 = 64u;
override STEP: u32 = 0u;
override BLOCK: u32 = 64u;

struct Shape {
    rows: u32,
    vocabulary: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(1) var<storage, read_write> keys: array<u32>;
@group(0) @binding(2) var<storage, read_write> order: array<u32>;
@group(0) @binding(3) var<storage, read_write> starts: array<u32>;

fn token_of(row: u32) -> u32 {
    return min(tokens[row], values.vocabulary - 1u);
}

fn block_of(row: u32) -> u32 {
    return row / BLOCK * BLOCK;
}

// How many of the ascending keys first .. end are below a limit.
fn below(first: u32, end: u32, limit: u32) -> u32 {
    var low = first;
    var high = end;
    while low < high {
        let middle = low + (high - low) / 2u;
        if keys[middle] < limit { low = middle + 1u; } else { high = middle; }
    }
    return low - first;
}

fn sort_block(row: u32) {
    let token = token_of(row);
    let first = block_of(row);
    var place = first;
    for (var other = first; other < min(first + BLOCK, values.rows); other++) {
        let its = token_of(other);
        place += u32(its < token || (its == token && other < row));
    }
    keys[place] = token;
    keys[values.rows + place] = row;
}

fn merge_blocks(at: u32) {
    let token = keys[at];
    let own = block_of(at);
    var place = at - own;
    for (var first = 0u; first < values.rows; first += BLOCK) {
        if first == own { continue; }
        // Rows of the same token in earlier blocks come first.
        place += below(first, min(first + BLOCK, values.rows), token + u32(first < own));
    }
    keys[2u * values.rows + place] = token;
    order[place] = keys[values.rows + at];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn token_order(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    if STEP == 2u {
        if index <= values.vocabulary { starts[index] = below(2u * values.rows, 3u * values.rows, index); }
        return;
    }
    if index >= values.rows { return; }
    if STEP == 0u { sort_block(index); } else { merge_blocks(index); }
}
