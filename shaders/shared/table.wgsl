// What a batch norm's forward pass leaves of each channel, to be applied or differentiated.
// Needs shared/batch.wgsl, and of the kernel its `values` and its binding `table`, [4, quads] vec4s (mean, inv_std, weight,
// bias).

struct Table {
    mean: vec4<f32>,
    inv_std: vec4<f32>,
    scale: vec4<f32>,
    shift: vec4<f32>,
}

// Of channels whose mean and standard deviation were just found.
fn table_fresh(quad: u32, mean: vec4<f32>, inv_std: vec4<f32>) -> Table {
    let weight = table[2u * values.quads + quad];
    return Table(mean, inv_std, weight * inv_std, table[3u * values.quads + quad]);
}

fn table_of(quad: u32) -> Table {
    return table_fresh(quad, table[quad], table[values.quads + quad]);
}

fn table_applied(entry: Table, x: vec4<f32>) -> vec4<f32> {
    return (x - entry.mean) * entry.scale + entry.shift;
}
