// Winograd's F(2 x 2, 3 x 3) along a line: 2 pixels from 4 by 4 multiplications in place of 6. Points 0, 1, -1 and infinity.
//
//   A' = 1  1  1  0    G = 1    0    0      B' = 1  0 -1  0
//        0  1 -1 -1        1/2  1/2  1/2         0  1  1  0
//                          1/2 -1/2  1/2         0 -1  1  0
//                          0    0    1           0  1  0 -1
//
// Error     Of sums over 64 to 512 channels of independent terms at most 5 units of roundoff (2^-24) of sum |a| |b|. A test holds it.
// Source    Lavin & Gray, "Fast algorithms for convolutional neural networks", CVPR 2016.

const WINOGRAD_PIXELS: u32 = 2u;
const WINOGRAD_SIDE: u32 = 4u;

// What an invocation takes of the channels: with quads a tile is 64 registers.
const WINOGRAD_LANES: u32 = 4u;
alias WinogradLane = vec4<f32>;
alias WinogradReal = vec4<Real>;
alias WinogradOut = vec4<Out>;

fn winograd_padded(x: WinogradLane) -> vec4<f32> { return x; }

fn winograd_cut(x: vec4<f32>) -> WinogradLane { return x; }

// B' d
fn winograd_source(d: WinogradLine) -> WinogradLine {
    return winograd_four(d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]);
}

// G g
fn winograd_filter(g: WinogradLine) -> WinogradLine {
    return winograd_four(g[0], 0.5 * (g[0] + g[1] + g[2]), 0.5 * (g[0] - g[1] + g[2]), g[2]);
}

// A' m
fn winograd_result(m: WinogradLine) -> WinogradLine {
    return winograd_four(m[0] + m[1] + m[2], m[1] - m[2] - m[3], WinogradLane(0.0), WinogradLane(0.0));
}

// A dy
fn winograd_gradients(dy: WinogradLine) -> WinogradLine {
    return winograd_four(dy[0], dy[0] + dy[1], dy[0] - dy[1], -dy[1]);
}

// (G' m)[tap]
fn winograd_tap(tap: u32, m: WinogradLine) -> WinogradLane {
    if tap == 0u { return m[0] + 0.5 * (m[1] + m[2]); }
    if tap == 1u { return 0.5 * (m[1] - m[2]); }
    return 0.5 * (m[1] + m[2]) + m[3];
}
