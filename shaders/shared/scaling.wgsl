// How gradients are scaled from the loss to the update; ScalingState is GradientScaling in src/kernels/gradient_factor.rs.

struct ScalingState {
    // The gradient of the loss is multiplied by it, so that f16 holds small gradients.
    loss_scale: f32,
    // The update multiplies gradients by it; 0 leaves the update out.
    factor: f32,
    // Steps since the loss scale was last lowered.
    good_steps: u32,
    skipped_steps: u32,
    // Updates that were not left out.
    applied_steps: u32,
}
