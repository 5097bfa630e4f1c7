// What all kernels of attention in memory linear in the length are told.

struct FlashShape {
    sequences: u32, // heads of all samples
    length: u32,
    heads: u32,
    head_dim: u32, // d
    causal: u32, // 1: a query sees its own position and those before it alone
    scale: f32, // 1 / sqrt(d)
    // of dropout, see shared/kept.wgsl
    layer: u32,
    threshold: u32,
    kept_scale: f32,
    step: u32,
    seed_low: u32,
    seed_high: u32,
}
