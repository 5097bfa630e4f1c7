// 8 x 8 cooperative matrices, for shared/coop.wgsl: those of Metal and of llvmpipe. Tiles are kept as scalars, the only
// thing that naga's Metal loads them from.
// Needs of the kernel its bindings a and b [CoopStored].

alias CoopA = coop_mat8x8<Real, A>;
alias CoopB = coop_mat8x8<Real, B>;
alias CoopC = coop_mat8x8<f32, C>;
alias CoopCell = Real;
alias CoopSum = f32;
alias CoopStored = vec4<Real>;
alias CoopQuad = vec4<Real>;
alias CoopElement = Real;

struct CoopOctet {
    first: vec4<Real>,
    second: vec4<Real>,
}

const COOP_SIDE: u32 = 8u;
const COOP_QUAD_CELLS: u32 = 4u;

fn coop_octet_a(at: u32) -> CoopOctet {
    return CoopOctet(a[2u * at], a[2u * at + 1u]);
}

fn coop_octet_b(at: u32) -> CoopOctet {
    return CoopOctet(b[2u * at], b[2u * at + 1u]);
}

fn coop_quad_a(at: u32) -> CoopQuad {
    return a[at];
}

fn coop_quad_b(at: u32) -> CoopQuad {
    return b[at];
}

fn coop_element_a(at: u32) -> CoopElement {
    return a[at / 4u][at % 4u];
}

fn coop_element_b(at: u32) -> CoopElement {
    return b[at / 4u][at % 4u];
}

fn coop_quad(x: CoopElement, y: CoopElement, z: CoopElement, w: CoopElement) -> CoopQuad {
    return vec4<Real>(x, y, z, w);
}

// An octet whose first and second quad are there, or zeros.
fn coop_kept(octet: CoopOctet, first: bool, second: bool) -> CoopOctet {
    return CoopOctet(select(vec4<Real>(), octet.first, first), select(vec4<Real>(), octet.second, second));
}

fn coop_write_a(quad: u32, value: CoopOctet) {
    coop_a[4u * quad] = value.first.x;
    coop_a[4u * quad + 1u] = value.first.y;
    coop_a[4u * quad + 2u] = value.first.z;
    coop_a[4u * quad + 3u] = value.first.w;
    coop_a[4u * quad + 4u] = value.second.x;
    coop_a[4u * quad + 5u] = value.second.y;
    coop_a[4u * quad + 6u] = value.second.z;
    coop_a[4u * quad + 7u] = value.second.w;
}

fn coop_write_b(quad: u32, value: CoopOctet) {
    coop_b[4u * quad] = value.first.x;
    coop_b[4u * quad + 1u] = value.first.y;
    coop_b[4u * quad + 2u] = value.first.z;
    coop_b[4u * quad + 3u] = value.first.w;
    coop_b[4u * quad + 4u] = value.second.x;
    coop_b[4u * quad + 5u] = value.second.y;
    coop_b[4u * quad + 6u] = value.second.z;
    coop_b[4u * quad + 7u] = value.second.w;
}

fn coop_sum(quad: u32) -> vec4<f32> {
    return vec4<f32>(coop_c[4u * quad], coop_c[4u * quad + 1u], coop_c[4u * quad + 2u], coop_c[4u * quad + 3u]);
}
