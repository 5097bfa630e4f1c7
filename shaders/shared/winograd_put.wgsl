// A row of a transformed 4 x 4 tile into its four products, which are `stride` vec4s apart. Needs of the kernel its binding
// output [vec4<f32>].

fn winograd_put(row: u32, at: u32, stride: u32, block: mat4x4<f32>) {
    output[4u * row * stride + at] = block[0];
    output[(4u * row + 1u) * stride + at] = block[1];
    output[(4u * row + 2u) * stride + at] = block[2];
    output[(4u * row + 3u) * stride + at] = block[3];
}
