// 16 x 16 cooperative matrices, for shared/coop.wgsl: those of Vulkan's drivers with f16 operands. Tiles are kept as vec4s,
// which Vulkan lets them be loaded from. Operands are read eight elements at a time, as the bits that they are: on an H200 a
// product is 1.12 times as fast as by two vec4<f16>, which its compiler does not put together.
// Needs of the kernel its bindings a and b [CoopStored].

alias CoopA = coop_mat16x16<Real, A>;
alias CoopB = coop_mat16x16<Real, B>;
alias CoopC = coop_mat16x16<f32, C>;
alias CoopCell = vec4<Real>;
alias CoopSum = vec4<f32>;
alias CoopStored = vec4<u32>;
alias CoopOctet = vec4<u32>;
alias CoopQuad = vec2<u32>;
alias CoopElement = u32;

const COOP_SIDE: u32 = 16u;
const COOP_QUAD_CELLS: u32 = 1u;

fn coop_octet_a(at: u32) -> CoopOctet {
    return a[at];
}

fn coop_octet_b(at: u32) -> CoopOctet {
    return b[at];
}

fn coop_quad_a(at: u32) -> CoopQuad {
    let octet = a[at / 2u];
    return select(octet.xy, octet.zw, at % 2u == 1u);
}

fn coop_quad_b(at: u32) -> CoopQuad {
    let octet = b[at / 2u];
    return select(octet.xy, octet.zw, at % 2u == 1u);
}

fn coop_element_a(at: u32) -> CoopElement {
    return (a[at / 8u][(at / 2u) % 4u] >> (16u * (at % 2u))) & 0xFFFFu;
}

fn coop_element_b(at: u32) -> CoopElement {
    return (b[at / 8u][(at / 2u) % 4u] >> (16u * (at % 2u))) & 0xFFFFu;
}

fn coop_quad(x: CoopElement, y: CoopElement, z: CoopElement, w: CoopElement) -> CoopQuad {
    return vec2<u32>(x | (y << 16u), z | (w << 16u));
}

// An octet whose first and second quad are there, or zeros.
fn coop_kept(octet: CoopOctet, first: bool, second: bool) -> CoopOctet {
    return select(vec4<u32>(), octet, vec4<bool>(first, first, second, second));
}

fn coop_reals(quad: CoopQuad) -> vec4<Real> {
    return vec4<Real>(vec4<f32>(unpack2x16float(quad.x), unpack2x16float(quad.y)));
}

fn coop_write_a(quad: u32, value: CoopOctet) {
    coop_a[quad] = coop_reals(value.xy);
    coop_a[quad + 1u] = coop_reals(value.zw);
}

fn coop_write_b(quad: u32, value: CoopOctet) {
    coop_b[quad] = coop_reals(value.xy);
    coop_b[quad + 1u] = coop_reals(value.zw);
}

fn coop_sum(quad: u32) -> vec4<f32> {
    return coop_c[quad];
}
