// Which probabilities dropout keeps, by the mask that shaders/dropout.wgsl draws of a tensor [sequences, length, length]; past 2^32
// elements it comes again. Needs shared/flash_shape.wgsl, shared/noise.wgsl and shared/philox.wgsl.

// 1 / (1 - p) for those kept, else 0: a query's, which is number `row` among those of all sequences, and keys `key` .. `key` + 3.
fn kept_quad(shape: FlashShape, row: u32, key: u32) -> vec4<f32> {
    let element = row * shape.length + key;
    let seed = vec2<u32>(shape.seed_low, shape.seed_high);
    let skipped = element % 4u;
    var bits = philox(vec4<u32>(element / 4u, shape.layer, shape.step, NOISE_STREAM_DROPOUT), seed);
    if skipped != 0u {
        let next = (element - skipped + 4u) / 4u;
        var more = philox(vec4<u32>(next, shape.layer, shape.step, NOISE_STREAM_DROPOUT), seed);
        if (skipped & 1u) != 0u {
            bits = vec4<u32>(bits.yzw, more.x);
            more = vec4<u32>(more.yzw, 0u);
        }
        if (skipped & 2u) != 0u { bits = vec4<u32>(bits.zw, more.xy); }
    }
    return select(vec4<f32>(), vec4<f32>(shape.kept_scale), bits >= vec4<u32>(shape.threshold));
}

// Those of a tile: for each of the invocation's other rows those of its own four.
fn kept_tile(shape: FlashShape, own: u32, other: u32, sequence: u32, keys: bool) -> mat4x4<f32> {
    let row = sequence * shape.length + select(own, other, keys);
    let key = select(other, own, keys);
    let tile = mat4x4<f32>(
        kept_quad(shape, row, key),
        kept_quad(shape, row + 1u, key),
        kept_quad(shape, row + 2u, key),
        kept_quad(shape, row + 3u, key),
    );
    if keys { return tile; }
    return transpose(tile);
}
