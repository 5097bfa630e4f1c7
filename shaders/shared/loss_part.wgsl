// A part of the classes of a loss whose logits are past a binding: of [rows, classes] the columns from `first_class` on, in a tensor
// [rows, columns] of their own.

struct LossPart {
    first: u32,
    valid: u32,
    rows: u32,
    classes: u32,
    gradient_scale: f32,
    smoothing: f32,
    first_class: u32,
    columns: u32,
}

// What is known of a row's logits after some of the parts.
struct LossPartRow {
    largest: f32,
    // of exp(logit - largest)
    sum: f32,
    // of largest - logit
    distances: f32,
    // the target's logit
    wanted: f32,
    // the class of the first largest
    index: u32,
    // of exp(logit - largest) times the tangent
    tangents: f32,
}

// As two vectors in memory, of which the index has its bits in one.
fn loss_part_row(a: vec4<f32>, b: vec4<f32>) -> LossPartRow {
    return LossPartRow(a.x, a.y, a.z, a.w, bitcast<u32>(b.x), b.y);
}
