// Where the operands of attention's products lie: for each head of each sample a product of its own.
//
// Needs of the kernel its overrides A_TRANSPOSED, B_TRANSPOSED and CAUSAL, and its immediates `values`.
//
//   B_TRANSPOSED   C = A B'   scores [length, length] of vectors [length, head_dim]
//   otherwise      C = A B    vectors of scores and vectors
//   A_TRANSPOSED   C = A' B   likewise
//
// Vectors are lines of `width` elements, one for each position, the heads' one after the other from element `offset` on; scores
// lie head by head. CAUSAL, the scores of keys after the query are neither made nor wanted: tiles of nothing else are left out, and
// in tiles that hold some they are read as the zeros that attention_softmax*.wgsl wrote.

struct AttentionProduct {
    batch: u32,
    heads: u32,
    length: u32,
    head_dim: u32,
    scale: f32,
    // Of vectors; not read of scores.
    a_width: u32,
    a_offset: u32,
    b_width: u32,
    b_offset: u32,
    c_width: u32,
    c_offset: u32,
}

// Lines of one operand for one head: where the first begins, and how far one is from the next.
struct AttentionLines {
    base: u32,
    stride: u32,
}

fn attention_vectors(head: u32, width: u32, offset: u32) -> AttentionLines {
    let row = head / values.heads; // of the batch
    let base = row * values.length * width + offset + (head - row * values.heads) * values.head_dim;
    return AttentionLines(base, width);
}

fn attention_scores(head: u32) -> AttentionLines {
    return AttentionLines(head * values.length * values.length, values.length);
}

fn attention_a(head: u32) -> AttentionLines {
    if B_TRANSPOSED { return attention_vectors(head, values.a_width, values.a_offset); }
    return attention_scores(head);
}

fn attention_b(head: u32) -> AttentionLines {
    return attention_vectors(head, values.b_width, values.b_offset);
}

fn attention_c(head: u32) -> AttentionLines {
    if B_TRANSPOSED { return attention_scores(head); }
    return attention_vectors(head, values.c_width, values.c_offset);
}

// Columns of C, of which there are `length` rows.
fn attention_columns() -> u32 {
    return select(values.head_dim, values.length, B_TRANSPOSED);
}

// A tile of C: of which head, and its first row and column.
struct AttentionTile {
    head: u32,
    row: u32,
    column: u32,
    is_wanted: bool,
}

// Tile number `index` of tiles of these sides, rows running fastest.
fn attention_tile(index: u32, sides: vec2<u32>) -> AttentionTile {
    let rows = (values.length + sides.x - 1u) / sides.x;
    let columns = (attention_columns() + sides.y - 1u) / sides.y;
    let head = index / (rows * columns);
    let within = index - head * rows * columns;
    let row = within % rows * sides.x;
    let column = within / rows * sides.y;
    let is_seen = !(CAUSAL && B_TRANSPOSED) || column < row + sides.x;
    return AttentionTile(head, row, column, head < values.batch * values.heads && is_seen);
}

// The first term of the sums of a tile of `rows` rows, and the end: a multiple of `rows` each, or all of them.
fn attention_terms(tile: AttentionTile, rows: u32) -> vec2<u32> {
    if B_TRANSPOSED { return vec2<u32>(0u, values.head_dim); }
    if !CAUSAL { return vec2<u32>(0u, values.length); }
    if A_TRANSPOSED { return vec2<u32>(tile.row, values.length); }
    return vec2<u32>(0u, min(values.length, tile.row + rows));
}
