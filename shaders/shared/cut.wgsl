// How the workgroups of batch norm share out [rows, quads]: each takes a part of the rows and a column of QUAD_LANES quads. Its
// invocations stand in rows of QUAD_LANES neighbours, who read neighbouring quads, and take every so manieth row.
//
// Needs shared/batch.wgsl, shared/index.wgsl, and of the kernel its `values` and its overrides WORKGROUP_SIZE and QUAD_LANES,
// powers of two. A grid of parts * ceil(quads / QUAD_LANES) workgroups, folded.

struct Cut {
    part: u32,
    column: u32,
    quad: u32,
    // Rows `first`, `first + step`, ... below `end`; none for invocations beyond the quads, who come to the barriers all the same.
    first: u32,
    end: u32,
    step: u32,
}

// Rows that are taken side by side. Not of a Cut: for compilers that ask whether barriers are met by all, each member is as far from
// uniform as the others.
fn cut_row_lanes() -> u32 {
    return WORKGROUP_SIZE / QUAD_LANES;
}

fn cut_of(workgroup: vec3<u32>, grid: vec3<u32>, local: u32, rows_per_part: u32, rows: u32) -> Cut {
    let columns = (values.quads + QUAD_LANES - 1u) / QUAD_LANES;
    let index = index_1d(workgroup, grid, 1u);
    var cut: Cut;
    cut.part = index / columns;
    cut.column = index - cut.part * columns;
    cut.quad = cut.column * QUAD_LANES + local % QUAD_LANES;
    let start = cut.part * rows_per_part;
    cut.first = start + local / QUAD_LANES;
    cut.end = select(0u, min(start + rows_per_part, rows), cut.quad < values.quads);
    cut.step = cut_row_lanes();
    return cut;
}

// Whether the workgroup is the first of its column and the invocation one of the first, a channel of the column each.
fn cut_leads(cut: Cut, local: u32) -> bool {
    return cut.part == 0u && local < 4u * QUAD_LANES && cut_channel(cut, local) < values.channels;
}

fn cut_channel(cut: Cut, local: u32) -> u32 {
    return 4u * cut.column * QUAD_LANES + local;
}
