// What a batch norm's forward pass leaves of each channel, to be applied or differentiated.
// Needs shared/batch.wgsl, and of the kernel its `values` and its binding `table`, [4, quads] vec4s (mean, inv_std, weight,
// bias).

struct Table {
    mean: vec4<f32>,
    inv_std: vec4<f32>,
    scale: vec4<f32>,
    shift: vec4<f32>,
}

// Weight and bias.
fn table_params(quad: u32) -> mat2x4<f32> {
    return mat2x4<f32>(table[2u * values.quads + quad], table[3u * values.quads + quad]);
}

fn table_made(mean: vec4<f32>, inv_std: vec4<f32>, params: mat2x4<f32>) -> Table {
    return Table(mean, inv_std, params[0] * inv_std, params[1]);
}

fn table_of(quad: u32) -> Table {
    return table_made(table[quad], table[values.quads + quad], table_params(quad));
}

fn table_applied(entry: Table, x: vec4<f32>) -> vec4<f32> {
    return (x - entry.mean) * entry.scale + entry.shift;
}
