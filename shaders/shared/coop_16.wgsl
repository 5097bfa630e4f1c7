// 16 x 16 cooperative matrices, for shared/coop.wgsl: those of Vulkan's drivers with f16 operands. Tiles are kept as vec4s,
// which Vulkan lets them be loaded from.

alias CoopA = coop_mat16x16<Real, A>;
alias CoopB = coop_mat16x16<Real, B>;
alias CoopC = coop_mat16x16<f32, C>;
alias CoopCell = vec4<Real>;

const COOP_SIDE: u32 = 16u;
const COOP_QUAD_CELLS: u32 = 1u;

fn coop_write_a(quad: u32, value: vec4<Real>) {
    coop_a[quad] = value;
}

fn coop_write_b(quad: u32, value: vec4<Real>) {
    coop_b[quad] = value;
}
