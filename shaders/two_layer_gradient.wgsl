// The two-layer linear model's gradient at the noisy factors, times each run's step size.
//
//   grad_u[r, i, k] = rate[r] sum over j of slope[r, i + rows * j] v_eff[r, j, k]
//   grad_v[r, j, k] = rate[r] sum over i of slope[r, i + rows * j] u_eff[r, i, k]
//
// Shapes    slope: [runs, rows * columns], dR/dTheta at the noisy coefficients, by columns; factors and gradients as in
//           two_layer_predict.wgsl; rates: [runs], see shared/factored.wgsl.
// Dispatch  grid_1d(runs * (rows + columns) * width, WORKGROUP_SIZE), folded: an element of u or of v an invocation.

override WORKGROUP_SIZE: u32 = 64u;

var<immediate> values: FactoredShape;
@group(0) @binding(0) var<storage, read> u_eff: array<f32>;
@group(0) @binding(1) var<storage, read> v_eff: array<f32>;
@group(0) @binding(2) var<storage, read> slope: array<f32>;
@group(0) @binding(3) var<storage, read> rates: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> grad_u: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_v: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn two_layer_gradient(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let columns = values.coefficients / values.rows;
    let elements = (values.rows + columns) * values.width;
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count / values.coefficients * elements {
        return;
    }
    let run = i / elements;
    let row = i % elements / values.width;
    let k = i % values.width;
    let rate = factored_rate(rates[run], values.step);
    let slope_run = run * values.coefficients;
    let row_u = run * values.stride_u;
    let row_v = run * values.stride_v;
    var along = 0.0;
    if row < values.rows {
        for (var j = 0u; j < columns; j++) {
            along += slope[slope_run + values.rows * j + row] * v_eff[row_v + j * values.width + k];
        }
        grad_u[row_u + row * values.width + k] = rate * along;
    } else {
        let column = row - values.rows;
        for (var j = 0u; j < values.rows; j++) {
            along += slope[slope_run + values.rows * column + j] * u_eff[row_u + j * values.width + k];
        }
        grad_v[row_v + column * values.width + k] = rate * along;
    }
}
