// Results of a product as whole vec4s, four elements at a time: images, and matrices whose rows line up.
// Needs of the kernel its binding c [StoreOut].
//
// WGSL lets the store of a component write the whole vector, as compilers for Metal and D3D do: invocations that share a vec4
// would undo each other's results. Those that do not line up are therefore stored by shared/store_1.wgsl.

alias StoreOut = vec4<Out>;

const STORE_WHOLE: bool = true;

// Elements `at` .. `at + 3`, `at` being a multiple of 4; `count`, how many of them are there, is here never less than 4.
fn store_c(at: u32, count: u32, value: vec4<f32>) {
    c[at / 4u] = vec4<Out>(value);
}

// What C holds there.
fn store_held(at: u32, count: u32) -> vec4<f32> {
    return vec4<f32>(c[at / 4u]);
}
