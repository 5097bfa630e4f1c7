// 8 x 8 cooperative matrices, for shared/coop.wgsl: those of Metal and of llvmpipe. Tiles are kept as scalars, the only
// thing that naga's Metal loads them from.

alias CoopA = coop_mat8x8<Real, A>;
alias CoopB = coop_mat8x8<Real, B>;
alias CoopC = coop_mat8x8<f32, C>;
alias CoopCell = Real;

const COOP_SIDE: u32 = 8u;
const COOP_QUAD_CELLS: u32 = 4u;

fn coop_write_a(quad: u32, value: vec4<Real>) {
    coop_a[4u * quad] = value.x;
    coop_a[4u * quad + 1u] = value.y;
    coop_a[4u * quad + 2u] = value.z;
    coop_a[4u * quad + 3u] = value.w;
}

fn coop_write_b(quad: u32, value: vec4<Real>) {
    coop_b[4u * quad] = value.x;
    coop_b[4u * quad + 1u] = value.y;
    coop_b[4u * quad + 2u] = value.z;
    coop_b[4u * quad + 3u] = value.w;
}
