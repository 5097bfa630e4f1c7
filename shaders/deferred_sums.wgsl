// The sums of several products' parts, each added up as split_sum.wgsl does it and in the same order.
//
//   C[i] = sum_s partials[s, i] (+ C[i] where `adds` is 1)
//
// Shapes    table: a row for each product; partials: from element `partials` of a row on its [parts, count]; c: from element `c`
//           of a row on its [count].
// Dispatch  ceil(count / SUMS) workgroups of (SUMS, LANES) for each row, folded: neighbours read neighbours, and each of an
//           element's LANES takes every LANES-th part, whose reads are under way at once, then a tree.

override SUMS: u32 = 64u;
override LANES: u32 = 1u;

struct SumRow {
    first: u32,
    partials: u32,
    c: u32,
    parts: u32,
    count: u32,
    adds: u32,
}

@group(0) @binding(0) var<storage, read> table: array<SumRow>;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

@compute @workgroup_size(SUMS, LANES)
fn deferred_sums(
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let group = index_1d(workgroup, grid, 1u);
    let row = table[jobs_row(group)];
    let at = (group - row.first) * SUMS + local.x;
    let end = select(0u, row.parts, at < row.count);
    var own = 0.0;
    for (var part = local.y; part < end; part += LANES) {
        own += partials[row.partials + part * row.count + at];
    }
    var sum = tree_sum(tree_in_column(local, SUMS), vec4<f32>(own)).x;
    if at < row.count && local.y == 0u {
        if row.adds == 1u { sum += c[row.c + at]; }
        c[row.c + at] = sum;
    }
}
