// Pre-activations of a product as whole vec4s: beside shared/store_4.wgsl. Needs of the kernel its binding pre [PreReal].

alias PreReal = vec4<Real>;

// Elements `at` .. `at + 3`, all of them there.
fn pre_store(at: u32, count: u32, value: vec4<f32>) {
    pre[at / 4u] = vec4<Real>(value);
}
