// The slope of the loss along a draw of noise, from the losses on its two sides.
//
//   slopes[slot] = scale (metrics[plus, 0] - metrics[minus, 0])
//
// Shapes    metrics: [slots, 2] of (loss, correct) sums, as metrics.wgsl leaves them; slopes: one a step, a ring.
// Units     scale = 1 / (answers that the sums are over times the distance between the two sides).
// Dispatch  one invocation.
// Source    Malladi et al., "Fine-tuning language models with just forward passes", NeurIPS 2023, definition 1.

struct Slope {
    plus: u32,
    minus: u32,
    slot: u32,
    scale: f32,
}

var<immediate> values: Slope;
@group(0) @binding(0) var<storage, read_write> metrics: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> slopes: array<f32>;

@compute @workgroup_size(1)
fn slope() {
    slopes[values.slot] = values.scale * (metrics[values.plus].x - metrics[values.minus].x);
}
