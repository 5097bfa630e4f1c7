// What a batch norm's first step left of each chunk of rows, as an invocation combines its share of a quad's: chunks `lane`,
// `lane + lanes`, ... of those that hold samples. Two are read at once, the second in vain where it is the last again: where
// there are more chunks than lanes, a read is what takes long.
//
// Needs shared/batch.wgsl, shared/moments.wgsl, and of the kernel its `values` and its binding `partials`, [quads, chunks, 2]
// vec4s.

fn partials_place(quad: u32, chunk: u32) -> u32 {
    return 2u * (quad * values.chunks + chunk);
}

// The moments of a chunk.
fn partials_chunk(quad: u32, chunk: u32) -> Moments {
    let at = partials_place(quad, chunk);
    let rows = min(values.rows_per_chunk, values.rows - chunk * values.rows_per_chunk);
    return Moments(partials[at], partials[at + 1u], f32(rows));
}

// What a chunk adds to sums of distances from `shift`, weighted by rows, of their squares, and of rows.
fn partials_distances(chunk: Moments, shift: vec4<f32>) -> Moments {
    let distance = chunk.first - shift;
    let weighted = chunk.count * distance;
    return Moments(weighted, chunk.second + weighted * distance, chunk.count);
}

fn partials_added(a: Moments, b: Moments) -> Moments {
    return Moments(a.first + b.first, a.second + b.second, a.count + b.count);
}

// Of forward's: by distances from the first one's mean, and the sums within chunks.
fn partials_moments(quad: u32, lane: u32, lanes: u32) -> Moments {
    if quad >= values.quads || lane >= values.filled { return Moments(); }
    var shift = vec4<f32>();
    var sums = Moments();
    for (var chunk = lane; chunk < values.filled; chunk += 2u * lanes) {
        let one = partials_chunk(quad, chunk);
        let other = partials_chunk(quad, min(chunk + lanes, values.filled - 1u));
        if chunk == lane { shift = one.first; }
        sums = partials_added(sums, partials_distances(one, shift));
        if chunk + lanes < values.filled { sums = partials_added(sums, partials_distances(other, shift)); }
    }
    return moments_shifted(shift, sums.first, sums.second, sums.count);
}

// Of backward's, two plain sums.
fn partials_sums(quad: u32, lane: u32, lanes: u32) -> Moments {
    var sums = Moments();
    if quad >= values.quads { return sums; }
    for (var chunk = lane; chunk < values.filled; chunk += 2u * lanes) {
        let at = partials_place(quad, chunk);
        let next = partials_place(quad, min(chunk + lanes, values.filled - 1u));
        let one = array<vec4<f32>, 2>(partials[at], partials[at + 1u]);
        let other = array<vec4<f32>, 2>(partials[next], partials[next + 1u]);
        sums = Moments(sums.first + one[0], sums.second + one[1], 0.0);
        if chunk + lanes < values.filled { sums = Moments(sums.first + other[0], sums.second + other[1], 0.0); }
    }
    return sums;
}
