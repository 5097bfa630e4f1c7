// Winograd's F(4 x 4, 3 x 3) along a line: 4 pixels from 6 by 6 multiplications in place of 12. Points 0, a, -a, b, -b and
// infinity with a = 5/8, b = 3/2.
//
//   A' = 1  1   1   1   1  0    G = 256/225        0        0     B' = a2 b2      0  -a2-b2        0  1  0
//        0  a  -a   b  -b  0        -2048/2975  -256/595  -32/119      0     -a b2  -b2       a        1  0
//        0  a2  a2  b2  b2 0        -2048/2975   256/595  -32/119      0      a b2  -b2      -a        1  0
//        0  a3 -a3  b3 -b3 1         128/1071     64/357   32/119      0     -a2 b  -a2       b        1  0
//                                    128/1071    -64/357   32/119      0      a2 b  -a2      -b        1  0
//                                        0         0        1          0     a2 b2   0   -a2-b2        0  1
//
// Why       Of the finite points p, with M(x) the product of all x - p and N(p) that of the differences from p to the others,
//           A' has the powers p^i, G has p^j / N(p) and B' the coefficients of M(x) / (x - p); the last row of B' has those of
//           M. So sum_p p^i p^j / N(p) M(x) / (x - p) interpolates x^(i + j) at five points: it is x^(i + j), or where i + j is
//           5, x^5 - M(x), to which the last row adds M(x). Of an output i, a tap j and a source pixel k,
//           sum_p A'[i, p] G[p, j] B'[p, k] is therefore 1 where k = i + j and else 0.
// Error     Transforms enlarge roundings, and the more the further the points' powers are from 1 and the nearer the points to each
//           other. Over a grid of pairs of sixteenths these have the least error, less than half of that of 1 and 2. Of sums over
//           64 to 512 channels of independent terms it is at most 20 units of roundoff (2^-24) of sum |a| |b|, where that of
//           F(2 x 2) is at most 5; a sum of k terms one after the other is only bounded by k, 576 and more. A test holds it.
// Source    Toom and Cook's interpolation as in Lavin & Gray, CVPR 2016; the choice of points after Barabasz, Anderson, Soodhalter
//           & Gregg, "Error analysis and improving the accuracy of Winograd convolution for deep neural networks", TOMS 2020.

const WINOGRAD_PIXELS: u32 = 4u;
const WINOGRAD_SIDE: u32 = 6u;

// What an invocation takes of the channels: with pairs a tile is 72 registers, with quads it would be 144.
const WINOGRAD_LANES: u32 = 2u;
alias WinogradLane = vec2<f32>;
alias WinogradReal = vec2<Real>;
alias WinogradOut = vec2<Out>;

// All but those of G are exact in f32.
const WINOGRAD_A: f32 = 5.0 / 8.0;
const WINOGRAD_A2: f32 = 25.0 / 64.0;
const WINOGRAD_A3: f32 = 125.0 / 512.0;
const WINOGRAD_B: f32 = 3.0 / 2.0;
const WINOGRAD_B2: f32 = 9.0 / 4.0;
const WINOGRAD_B3: f32 = 27.0 / 8.0;
const WINOGRAD_PRODUCT: f32 = 225.0 / 256.0; // a2 b2
const WINOGRAD_SUM: f32 = 169.0 / 64.0; // a2 + b2
const WINOGRAD_G0: f32 = 256.0 / 225.0;
const WINOGRAD_GA: vec3<f32> = vec3<f32>(-2048.0 / 2975.0, -256.0 / 595.0, -32.0 / 119.0);
const WINOGRAD_GB: vec3<f32> = vec3<f32>(128.0 / 1071.0, 64.0 / 357.0, 32.0 / 119.0);

fn winograd_padded(x: WinogradLane) -> vec4<f32> { return vec4<f32>(x, 0.0, 0.0); }

fn winograd_cut(x: vec4<f32>) -> WinogradLane { return x.xy; }

// Rows of a point and of its negative: the even powers' part plus and minus the odd powers'.
fn winograd_pairs(
    first: WinogradLane,
    even: array<WinogradLane, 2>,
    odd: array<WinogradLane, 2>,
    last: WinogradLane,
) -> WinogradLine {
    return WinogradLine(first, even[0] + odd[0], even[0] - odd[0], even[1] + odd[1], even[1] - odd[1], last);
}

// B' d
fn winograd_source(d: WinogradLine) -> WinogradLine {
    let even = array<WinogradLane, 2>(d[4] - WINOGRAD_B2 * d[2], d[4] - WINOGRAD_A2 * d[2]);
    let odd = array<WinogradLane, 2>(WINOGRAD_A * (d[3] - WINOGRAD_B2 * d[1]), WINOGRAD_B * (d[3] - WINOGRAD_A2 * d[1]));
    let first = WINOGRAD_PRODUCT * d[0] - WINOGRAD_SUM * d[2] + d[4];
    let last = WINOGRAD_PRODUCT * d[1] - WINOGRAD_SUM * d[3] + d[5];
    return winograd_pairs(first, even, odd, last);
}

// G g
fn winograd_filter(g: WinogradLine) -> WinogradLine {
    let even = array<WinogradLane, 2>(WINOGRAD_GA.x * g[0] + WINOGRAD_GA.z * g[2], WINOGRAD_GB.x * g[0] + WINOGRAD_GB.z * g[2]);
    let odd = array<WinogradLane, 2>(WINOGRAD_GA.y * g[1], WINOGRAD_GB.y * g[1]);
    return winograd_pairs(WINOGRAD_G0 * g[0], even, odd, g[2]);
}

// A' m
fn winograd_result(m: WinogradLine) -> WinogradLine {
    let even = array<WinogradLane, 2>(m[1] + m[2], m[3] + m[4]);
    let odd = array<WinogradLane, 2>(m[1] - m[2], m[3] - m[4]);
    return winograd_four(m[0] + even[0] + even[1], WINOGRAD_A * odd[0] + WINOGRAD_B * odd[1],
                         WINOGRAD_A2 * even[0] + WINOGRAD_B2 * even[1], WINOGRAD_A3 * odd[0] + WINOGRAD_B3 * odd[1] + m[5]);
}

// A dy
fn winograd_gradients(dy: WinogradLine) -> WinogradLine {
    let even = array<WinogradLane, 2>(dy[0] + WINOGRAD_A2 * dy[2], dy[0] + WINOGRAD_B2 * dy[2]);
    let odd = array<WinogradLane, 2>(WINOGRAD_A * dy[1] + WINOGRAD_A3 * dy[3], WINOGRAD_B * dy[1] + WINOGRAD_B3 * dy[3]);
    return winograd_pairs(dy[0], even, odd, dy[3]);
}

// (G' m)[tap]
fn winograd_tap(tap: u32, m: WinogradLine) -> WinogradLane {
    if tap == 1u { return WINOGRAD_GA.y * (m[1] - m[2]) + WINOGRAD_GB.y * (m[3] - m[4]); }
    let even = array<WinogradLane, 2>(m[1] + m[2], m[3] + m[4]);
    if tap == 0u { return WINOGRAD_G0 * m[0] + WINOGRAD_GA.x * even[0] + WINOGRAD_GB.x * even[1]; }
    return WINOGRAD_GA.z * even[0] + WINOGRAD_GB.z * even[1] + m[5];
}
