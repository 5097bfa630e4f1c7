// The sums of several products' parts, each added up as split_sum.wgsl does it and in the same order.
//
//   C[i] = sum_s partials[s, i] (+ C[i] where `adds` is 1)
//
// Shapes    table: a row for each product; partials: from element `partials` of a row on its [parts, count]; c: from element `c`
//           of a row on its [count].
// Dispatch  ceil(count / (4 SUMS)) workgroups of (SUMS, LANES) for each row, folded: neighbours read neighbours; an invocation has
//           four elements, SUMS apart, whose reads are under way at once, and takes every LANES-th part of each, then a tree.

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
    let at = (group - row.first) * 4u * SUMS + local.x + SUMS * vec4<u32>(0u, 1u, 2u, 3u);
    let there = at < vec4<u32>(row.count);
    let place = row.partials + select(vec4<u32>(), at, there); // of those past the end the first of all, for nobody
    let end = select(0u, row.parts, there.x);
    var own = vec4<f32>();
    for (var part = local.y; part < end; part += LANES) {
        let from = place + part * row.count;
        own += vec4<f32>(partials[from.x], partials[from.y], partials[from.z], partials[from.w]);
    }
    let sums = tree_sum(tree_in_column(local, SUMS), own);
    if local.y != 0u { return; }
    for (var i = 0u; i < 4u; i++) {
        if there[i] {
            var sum = sums[i];
            if row.adds == 1u { sum += c[row.c + at[i]]; }
            c[row.c + at[i]] = sum;
        }
    }
}
