// Many runs of a factored linear model side by side: where a run's numbers lie, and its step size.

// coefficients of a run, those of all runs together, elements from one run's u (v) to the next, and the model's own
// sizes: the two-layer model's rows and width. `step` counts from 0.
struct FactoredShape {
    coefficients: u32,
    count: u32,
    stride_u: u32,
    stride_v: u32,
    rows: u32,
    width: u32,
    step: f32,
}

// rate (step size, decay): the step size falls as 1 / sqrt(1 + decay * step).
fn factored_rate(rate: vec2<f32>, step: f32) -> f32 {
    return rate.x / sqrt(1.0 + rate.y * step);
}
