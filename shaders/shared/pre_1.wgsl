// Pre-activations of a product as elements: beside shared/store_1.wgsl. Needs of the kernel its binding pre [PreReal].

alias PreReal = Real;

// Those of the elements `at` .. `at + 3` that are there: the first `count`, at least one.
fn pre_store(at: u32, count: u32, value: vec4<f32>) {
    pre[at] = Real(value.x);
    if count > 1u { pre[at + 1u] = Real(value.y); }
    if count > 2u { pre[at + 2u] = Real(value.z); }
    if count > 3u { pre[at + 3u] = Real(value.w); }
}
