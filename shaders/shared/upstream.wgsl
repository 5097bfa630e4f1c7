// The gradient of a batch norm's result as it was before the activation: grad * activation'.
//
// Needs shared/table.wgsl, shared/activation.wgsl, and of the kernel its bindings `grad` and `saved`, [rows, quads] vec4s, and its
// overrides ACTIVATION and RECOMPUTE: ReLU's derivative goes by a sign, and where nothing was added to the normalised input that
// of the activation's argument is found again from the input, which is read anyhow. Otherwise it goes by `saved`, the output.

fn upstream(at: u32, x: vec4<f32>, entry: Table) -> vec4<f32> {
    let g = vec4<f32>(grad[at]);
    if ACTIVATION == 0u { return g; }
    if RECOMPUTE { return g * activation_gradient_vec4(ACTIVATION, table_applied(entry, x)); }
    return g * activation_gradient_vec4(ACTIVATION, vec4<f32>(saved[at]));
}
