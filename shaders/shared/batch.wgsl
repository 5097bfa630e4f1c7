// How the kernels of batch norm see a batch, [rows, quads] vec4s of channels, and how it is cut: their immediates.

struct Batch {
    // Rows that hold samples; those of other samples come after them.
    rows: u32,
    all_rows: u32,
    quads: u32,
    channels: u32,
    // The first step's: rows of a chunk, chunks, and how many of them hold samples.
    rows_per_chunk: u32,
    chunks: u32,
    filled: u32,
    // Rows of a workgroup of the sweeps that combine the chunks themselves.
    rows_per_tile: u32,
    // The batch's share of the running statistics.
    momentum: f32,
    eps: f32,
}
