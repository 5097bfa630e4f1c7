// A column of a transformed tile into its products, which are `stride` lanes apart. Needs of the kernel its binding output
// [WinogradLane].

fn winograd_put(column: u32, at: u32, stride: u32, line: WinogradLine) {
    let first = column * stride + at;
    let row = WINOGRAD_SIDE * stride;
    output[first] = line[0];
    output[first + row] = line[1];
    output[first + 2u * row] = line[2];
    output[first + 3u * row] = line[3];
    if WINOGRAD_SIDE > 4u {
        output[first + 4u * row] = line[4];
        output[first + 5u * row] = line[5];
    }
}
