// A table of jobs, each of which takes as many workgroups as it has work for: which job is a workgroup's.
//
// Needs of the kernel its binding `table`, an array of rows that have a member `first`: the job's first workgroup, that of row 0
// being 0, in ascending order.

// The row of a workgroup. Workgroups past the last job's get its row.
fn jobs_row(workgroup: u32) -> u32 {
    var row = 0u;
    var end = arrayLength(&table);
    while end - row > 1u {
        let middle = (row + end) / 2u;
        if table[middle].first <= workgroup { row = middle; } else { end = middle; }
    }
    return row;
}
