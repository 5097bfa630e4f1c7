// Results of a product as elements: matrices whose rows do not line up, and weight gradients, where other invocations' results
// lie between. Needs of the kernel its binding c [StoreOut]. Why not as vec4s: shared/store_4.wgsl.

alias StoreOut = Out;

const STORE_WHOLE: bool = false;

// Those of the elements `at` .. `at + 3` that are there: the first `count`, at least one.
fn store_c(at: u32, count: u32, value: vec4<f32>) {
    c[at] = Out(value.x);
    if count > 1u { c[at + 1u] = Out(value.y); }
    if count > 2u { c[at + 2u] = Out(value.z); }
    if count > 3u { c[at + 3u] = Out(value.w); }
}

// What C holds there; the last element again in place of those that are not there.
fn store_held(at: u32, count: u32) -> vec4<f32> {
    let i = at + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(count - 1u));
    return vec4<f32>(vec4<Out>(c[i.x], c[i.y], c[i.z], c[i.w]));
}
