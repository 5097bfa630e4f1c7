// How far noise in units of filter norms is shrunk by the gradients of the past.
//
//   REMEMBER: history[e] = beta history[e] + gradients[e]^2
//   else:     amplitudes[e] = norms[filters[e]] / sqrt(1 + eta history[e])
//
// An entry e is a filter of a matrix, or an element of a tensor of one dimension, whose filter is all of it.
//
// Shapes    gradients, history, amplitudes: [entries], gradients the norms of each entry's gradient (filter_norm.wgsl);
//           filters: [entries], the place of each entry's filter in norms: [filters].
// Dispatch  grid_1d(entries, WORKGROUP_SIZE), folded.
// Source    Li et al., "Revisiting random weight perturbation for efficiently improving generalization", TMLR 2024, and its code
//           (nblt/mARWP), by which tensors of one dimension have a history for each element.

override WORKGROUP_SIZE: u32 = 64u;
override REMEMBER: bool = false;

struct History {
    count: u32,
    beta: f32,
    eta: f32,
}

var<immediate> values: History;
@group(0) @binding(0) var<storage, read> gradients: array<f32>;
@group(0) @binding(1) var<storage, read> norms: array<f32>;
@group(0) @binding(2) var<storage, read> filters: array<u32>;
@group(0) @binding(3) var<storage, read_write> history: array<f32>;
@group(0) @binding(4) var<storage, read_write> amplitudes: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn filter_history(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let e = index_1d(invocation, grid, WORKGROUP_SIZE);
    if e >= values.count { return; }
    if REMEMBER {
        history[e] = values.beta * history[e] + gradients[e] * gradients[e];
    } else {
        amplitudes[e] = norms[filters[e]] / sqrt(1.0 + values.eta * history[e]);
    }
}
