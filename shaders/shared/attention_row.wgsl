// Rows of attention's scores, shared out among LANES invocations: a query of a head of a sample.
//
// Needs of the kernel its overrides SUMS, LANES and CAUSAL, and its immediates `values`.

struct AttentionRows {
    rows: u32,
    length: u32,
}

// A row: where it begins, how many of its keys the query sees, and how many elements it has: none past the last row.
struct AttentionRow {
    start: u32,
    seen: u32,
    length: u32,
}

fn attention_row(index: u32) -> AttentionRow {
    if index >= values.rows { return AttentionRow(0u, 0u, 0u); }
    let query = index % values.length;
    return AttentionRow(index * values.length, select(values.length, query + 1u, CAUSAL), values.length);
}
