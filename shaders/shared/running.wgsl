// The running statistics of a channel, as torch.nn.BatchNorm2d moves them.
// Needs shared/batch.wgsl, shared/finite.wgsl, and of the kernel its `values` and its bindings `running_mean` and `running_var`.

fn running_of(channel: u32) -> vec2<f32> {
    return vec2<f32>(running_mean[channel], running_var[channel]);
}

// running + momentum (of the batch - running), the variance unbiased; `squares` is the sum of squared distances from the mean.
// Left as it is where the batch's are not finite, so that a step that is left out leaves nothing behind.
fn running_move(channel: u32, before: vec2<f32>, mean: f32, squares: f32) {
    let unbiased = squares / max(f32(values.rows) - 1.0, 1.0);
    if finite(mean) && finite(unbiased) {
        running_mean[channel] = before.x + values.momentum * (mean - before.x);
        running_var[channel] = before.y + values.momentum * (unbiased - before.y);
    }
}
