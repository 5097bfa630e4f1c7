// 2-d convolution as an implicit matrix product by cooperative matrices (tensor cores); sums are f32.
//
//   forward          Y[p, o]       = epilogue( sum_{tap, i} X[p * stride + tap * dilation - padding, i] W[tap, i, o] )
//   data gradient    dX[q, i]      = epilogue( sum_{tap, o} dY[(q + padding - tap * dilation) / stride, o] W[tap, i, o] )
//   weight gradient  dW[o, i, tap] = sum_p dY[p, o] X[p * stride + tap * dilation - padding, i]
//
// Shapes    as in conv_tile.wgsl.
// Epilogue  as in matmul_block.wgsl. One group only.
// Dispatch  [row tiles, column tiles, phases * fold] workgroups of COOP_THREADS. A row tile is COOP_TILE_ROWS
//           pixels of Y, pixels of one phase of dX (conv_phase_*), or outputs; row tiles beyond the adapter's limit fold into
//           z. A column tile is COOP_TILE_COLUMNS / 4 quads of outputs, of inputs, or of [taps, in_quads].
//           Weight gradient: z is the part of the pixels that is summed, into dW[z]; split_sum.wgsl adds the parts. With SPLIT z is
//           the part of the terms of another pass likewise, into an image of its own.
// Every operand is read_write because they may lie in one arena buffer.
//
// WHOLE says that octets line up and that a tile of terms has one tap. Then the loop neither divides nor asks for edges but the
// images': where an invocation's pixels lie is found anew where the tap changes (forward, data gradient), or from where they
// were a tile before (weight gradient). Elsewhere each quad is found by itself.
enable wgpu_cooperative_matrix;

override PASS: u32 = 0u;
override SPLIT: bool = false;
override WHOLE: bool = false;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

var<immediate> values: ConvShape;
@group(0) @binding(0) var<storage, read_write> a: array<CoopStored>;
@group(0) @binding(1) var<storage, read_write> b: array<CoopStored>;
@group(0) @binding(2) var<storage, read_write> aux: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<StoreOut>;
@group(0) @binding(4) var<storage, read_write> pre: array<PreReal>;

// What a workgroup makes, what it sums (end, and where the tile begins that the end of the pixels cuts off: no tile else), and
// an invocation's loaders.
struct Task {
    row_0: u32,
    column_0: u32, // a quad
    phase: vec2<u32>,
    first: u32,
    end: u32,
    cut: u32,
    a: vec2<u32>,
    b: vec2<u32>,
}

fn gathered(pixels: Pixels, term: vec4<i32>) -> CoopPlaces {
    let found = pixels_source(pixels, term);
    return coop_places(bitcast<vec4<u32>>(found), found >= vec4<i32>());
}

// Quad `quad` of lines of `quads`, of which there are `lines`.
fn plain(line: vec4<u32>, lines: u32, quad: u32, quads: u32) -> CoopPlaces {
    return coop_places(line * quads + quad, (line < vec4<u32>(lines)) & vec4<bool>(quad < quads));
}

// The terms of an octet's two quads.
struct Terms {
    first: vec4<i32>,
    second: vec4<i32>,
}

fn out_pixels() -> u32 {
    return values.batch * values.out_height * values.out_width;
}

// The pixels of A's rows, or of B's lines from depth_0 on, for octets from number `first` on.
fn pixels_of(first: u32, task: Task, depth_0: u32) -> Pixels {
    if PASS == CONV_WEIGHT_GRADIENT {
        return pixels_at(depth_0 + coop_lines_from(first, task.b, COOP_TILE_COLUMNS, COOP_B_ACROSS));
    }
    return pixels_at(task.row_0 + coop_lines_from(first, task.a, COOP_TILE_ROWS, COOP_A_ACROSS));
}

// The terms of an octet of A in the tile from depth_0 on, or of B in every tile.
fn terms_of(task: Task, depth_0: u32) -> Terms {
    let quad = select(depth_0 / 4u + 2u * task.a.y, task.column_0 + 2u * task.b.y, PASS == CONV_WEIGHT_GRADIENT);
    return Terms(conv_gather_term(quad, task.phase), conv_gather_term(quad + 1u, task.phase));
}

// The first (0) or second (1) quads of octets of the operand that is not gathered: dY, or packed weights.
fn plain_quads(second: u32, first: u32, task: Task, depth_0: u32, term: vec4<i32>) -> CoopPlaces {
    let outputs = conv_quads(values.out_channels);
    let inputs = 4u * conv_quads(values.in_channels);
    if PASS == CONV_WEIGHT_GRADIENT {
        let line = depth_0 + coop_lines_from(first, task.a, COOP_TILE_ROWS, COOP_A_ACROSS);
        return plain(line, out_pixels(), task.row_0 / 4u + 2u * task.a.y + second, outputs);
    }
    let line = coop_lines_from(first, task.b, COOP_TILE_COLUMNS, COOP_B_ACROSS);
    if PASS == CONV_FORWARD {
        return plain(depth_0 + line, conv_gather_taps() * inputs, task.column_0 + 2u * task.b.y + second, outputs);
    }
    let tap = u32(max(term.w, 0));
    let end = select((tap + 1u) * inputs, 0u, term.w < 0);
    return plain(tap * inputs + 4u * task.column_0 + line, end, u32(term.z), outputs);
}

fn quads_a(first: CoopPlaces, second: CoopPlaces) -> CoopCarried {
    var carried: CoopCarried;
    carried.v0 = CoopOctet(coop_quad_a(first.at.x), coop_quad_a(second.at.x));
    if coop_brings(1u, COOP_TILE_ROWS) { carried.v1 = CoopOctet(coop_quad_a(first.at.y), coop_quad_a(second.at.y)); }
    if coop_brings(2u, COOP_TILE_ROWS) { carried.v2 = CoopOctet(coop_quad_a(first.at.z), coop_quad_a(second.at.z)); }
    if coop_brings(3u, COOP_TILE_ROWS) { carried.v3 = CoopOctet(coop_quad_a(first.at.w), coop_quad_a(second.at.w)); }
    carried.there = first.there | (second.there << 4u);
    return carried;
}

fn quads_b(first: CoopPlaces, second: CoopPlaces) -> CoopCarried {
    var carried: CoopCarried;
    carried.v0 = CoopOctet(coop_quad_b(first.at.x), coop_quad_b(second.at.x));
    if coop_brings(1u, COOP_TILE_COLUMNS) { carried.v1 = CoopOctet(coop_quad_b(first.at.y), coop_quad_b(second.at.y)); }
    if coop_brings(2u, COOP_TILE_COLUMNS) { carried.v2 = CoopOctet(coop_quad_b(first.at.z), coop_quad_b(second.at.z)); }
    if coop_brings(3u, COOP_TILE_COLUMNS) { carried.v3 = CoopOctet(coop_quad_b(first.at.w), coop_quad_b(second.at.w)); }
    carried.there = first.there | (second.there << 4u);
    return carried;
}

// Octets from number `first` on of any tile, the one from depth_0 on; `pixels` and `terms` are its pixels_of and terms_of.
fn any_a(first: u32, task: Task, depth_0: u32, pixels: Pixels, terms: Terms) -> CoopCarried {
    if PASS != CONV_WEIGHT_GRADIENT { return quads_a(gathered(pixels, terms.first), gathered(pixels, terms.second)); }
    return quads_a(plain_quads(0u, first, task, depth_0, terms.first), plain_quads(1u, first, task, depth_0, terms.second));
}

fn any_b(first: u32, task: Task, depth_0: u32, pixels: Pixels, terms: Terms) -> CoopCarried {
    if PASS == CONV_WEIGHT_GRADIENT { return quads_b(gathered(pixels, terms.first), gathered(pixels, terms.second)); }
    return quads_b(plain_quads(0u, first, task, depth_0, terms.first), plain_quads(1u, first, task, depth_0, terms.second));
}

// Puts what was carried into the tiles, and the octets that are too many to be.
fn put(task: Task, depth_0: u32, carried_a: CoopCarried, carried_b: CoopCarried) {
    let a_is_there = WHOLE && PASS == CONV_WEIGHT_GRADIENT;
    let b_is_there = WHOLE && PASS != CONV_WEIGHT_GRADIENT;
    if a_is_there { coop_put_a(0u, task.a, carried_a); } else { coop_put_a(0u, task.a, coop_masked(carried_a)); }
    if b_is_there { coop_put_b(0u, task.b, carried_b); } else { coop_put_b(0u, task.b, coop_masked(carried_b)); }
    for (var first = 4u; coop_brings(first, COOP_TILE_ROWS); first += 4u) {
        let rest = any_a(first, task, depth_0, pixels_of(first, task, depth_0), terms_of(task, depth_0));
        coop_put_a(first, task.a, coop_masked(rest));
    }
    for (var first = 4u; coop_brings(first, COOP_TILE_COLUMNS); first += 4u) {
        let rest = any_b(first, task, depth_0, pixels_of(first, task, depth_0), terms_of(task, depth_0));
        coop_put_b(first, task.b, coop_masked(rest));
    }
}

// The way through the depth, a tile at a time. In a weight gradient the tile that the end of the pixels cuts off comes first,
// so that no other one asks for it. Forward and data gradient pass over taps that do not reach the phase.
struct Walk {
    depth: u32,
    left: u32, // tiles; but in a weight gradient only whether there are any
    tap: vec3<u32>, // with WHOLE: x, y and number
}

// Terms of a tap.
fn tap_terms() -> u32 {
    return 4u * conv_gather_size().x;
}

fn tap_next(tap: vec3<u32>) -> vec3<u32> {
    let line_ends = tap.x + 1u == values.kernel_width;
    return select(vec3<u32>(tap.x + 1u, tap.y, tap.z + 1u), vec3<u32>(0u, tap.y + 1u, tap.z + 1u), line_ends);
}

// The first tile of the first tap from `tap` on that reaches the phase; past the last, none.
fn walk_from(tap: vec3<u32>, phase: vec2<u32>) -> Walk {
    var reached = tap;
    while reached.y < values.kernel_height && conv_gather_offset(reached.xy, phase).x == CONV_GATHER_UNREACHED {
        reached = tap_next(reached);
    }
    if reached.y >= values.kernel_height { return Walk(); }
    return Walk(reached.z * tap_terms(), 1u, reached);
}

fn walk_start(task: Task) -> Walk {
    if PASS == CONV_WEIGHT_GRADIENT {
        let tiles = (task.end - task.first + COOP_DEPTH - 1u) / COOP_DEPTH;
        return Walk(select(task.first, task.cut, task.cut < task.end), tiles, vec3<u32>());
    }
    if WHOLE && SPLIT {
        if task.first >= task.end { return Walk(); }
        let tap = task.first / tap_terms();
        let line = tap / values.kernel_width;
        return Walk(task.first, 1u, vec3<u32>(tap - line * values.kernel_width, line, tap));
    }
    if WHOLE { return walk_from(vec3<u32>(), task.phase); }
    return Walk(task.first, select(0u, 1u, task.first < task.end), vec3<u32>());
}

fn walk_next(walk: Walk, task: Task) -> Walk {
    let depth = walk.depth + COOP_DEPTH;
    if PASS == CONV_WEIGHT_GRADIENT {
        return Walk(select(depth, task.first, walk.depth == task.cut), walk.left - 1u, walk.tap);
    } else if WHOLE {
        if SPLIT && depth >= task.end { return Walk(); }
        if depth == (walk.tap.z + 1u) * tap_terms() { return walk_from(tap_next(walk.tap), task.phase); }
        return Walk(depth, 1u, walk.tap);
    }
    let reached = conv_gather_reached(depth, COOP_DEPTH, task.phase).x;
    return Walk(reached, select(0u, 1u, reached < task.end), walk.tap);
}

// What the loop's loads go by.
struct Source {
    depth: u32,
    pixels: Pixels,
    terms: Terms,
    // With WHOLE: octets of A and of B, and how much further those of this tile are.
    a: CoopPlaces,
    b: vec4<u32>,
    further: vec2<u32>,
}

// A's octets of a tap's first terms.
fn tap_a(task: Task, tap: vec3<u32>, pixels: Pixels) -> CoopPlaces {
    let offset = conv_gather_offset(tap.xy, task.phase);
    let lines = gathered(pixels, vec4<i32>(offset, i32(2u * task.a.y), 0));
    return CoopPlaces(lines.at / 2u, lines.there);
}

// B's octets of the first tap's first terms. Past the edge the last ones again, of whose sums nothing is stored.
fn whole_b(task: Task) -> vec4<u32> {
    let outputs = conv_quads(values.out_channels) / 2u;
    let lines = coop_lines_from(0u, task.b, COOP_TILE_COLUMNS, COOP_B_ACROSS);
    if PASS == CONV_FORWARD { return lines * outputs + min(task.column_0 / 2u + task.b.y, outputs - 1u); }
    return min(4u * task.column_0 + lines, vec4<u32>(4u * conv_quads(values.in_channels) - 1u)) * outputs + task.b.y;
}

// A's octets of a weight gradient's first whole tile, as B's.
fn whole_a(task: Task) -> vec4<u32> {
    let outputs = conv_quads(values.out_channels) / 2u;
    let lines = task.first + coop_lines_from(0u, task.a, COOP_TILE_ROWS, COOP_A_ACROSS);
    return min(lines, vec4<u32>(out_pixels() - 1u)) * outputs + min(task.row_0 / 8u + task.a.y, outputs - 1u);
}

// How many octets of A and of B the walk is past the first terms of its tap and of all.
fn further(walk: Walk, task: Task) -> vec2<u32> {
    let outputs = conv_quads(values.out_channels) / 2u;
    if PASS == CONV_WEIGHT_GRADIENT { return vec2<u32>((walk.depth - task.first) * outputs, 0u); }
    let terms = (walk.depth - walk.tap.z * tap_terms()) / 8u;
    let taps = walk.tap.z * 4u * conv_quads(values.in_channels) * outputs;
    return vec2<u32>(terms, select(taps + terms, walk.depth * outputs, PASS == CONV_FORWARD));
}

// Of the first whole tile.
fn source_start(task: Task, walk: Walk) -> Source {
    var source: Source;
    source.depth = select(walk.depth, task.first, PASS == CONV_WEIGHT_GRADIENT);
    source.pixels = pixels_of(0u, task, source.depth);
    source.terms = terms_of(task, source.depth);
    if WHOLE && PASS == CONV_WEIGHT_GRADIENT {
        source.a = CoopPlaces(whole_a(task), COOP_FOUR);
    } else if WHOLE {
        source.a = tap_a(task, walk.tap, source.pixels);
        source.b = whole_b(task);
        source.further = further(walk, task);
    }
    return source;
}

// Of the tile behind `walk`, `next` being there.
fn source_next(source: Source, walk: Walk, next: Walk, task: Task, step: ConvGatherStep) -> Source {
    var moved = source;
    moved.depth = next.depth;
    if PASS == CONV_WEIGHT_GRADIENT {
        if walk.depth != task.cut { moved.pixels = pixels_next(source.pixels, step); }
    } else if WHOLE {
        if next.tap.z != walk.tap.z { moved.a = tap_a(task, next.tap, source.pixels); }
    } else {
        moved.terms = terms_of(task, next.depth);
    }
    if WHOLE { moved.further = further(next, task); }
    return moved;
}

fn load_a(source: Source, task: Task) -> CoopCarried {
    if WHOLE { return coop_fetch_a(source.a.at + source.further.x, source.a.there); }
    return any_a(0u, task, source.depth, source.pixels, source.terms);
}

fn load_b(source: Source, task: Task) -> CoopCarried {
    if WHOLE && PASS == CONV_WEIGHT_GRADIENT {
        let lines = gathered(source.pixels, source.terms.first);
        return coop_fetch_b(lines.at / 2u, lines.there);
    }
    if WHOLE { return coop_fetch_b(source.b + source.further.y, COOP_FOUR); }
    return any_b(0u, task, source.depth, source.pixels, source.terms);
}

@compute @workgroup_size(COOP_THREADS)
fn conv_coop(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let rows = conv_rows(values, PASS, SPLIT, workgroup, grid);
    let depths = conv_gather_depths(workgroup, grid, COOP_DEPTH, rows.phase);
    let task = Task(rows.tile * COOP_TILE_ROWS, workgroup.y * COOP_TILE_COLUMNS / 4u, rows.phase,
                    depths.x, depths.y, depths.y - (depths.y - depths.x) % COOP_DEPTH,
                    coop_loader(thread, COOP_TILE_ROWS, COOP_A_ACROSS),
                    coop_loader(thread, COOP_TILE_COLUMNS, COOP_B_ACROSS));
    let step = conv_gather_step(COOP_DEPTH);
    for (var first = 0u; first < COOP_SHARES; first += subgroups) {
        let share = coop_share(first, subgroup);
        var walk = walk_start(task);
        var source = source_start(task, walk);
        var carried_a: CoopCarried;
        var carried_b: CoopCarried;
        if PASS == CONV_WEIGHT_GRADIENT {
            let pixels = pixels_of(0u, task, walk.depth);
            carried_a = coop_masked(any_a(0u, task, walk.depth, pixels, source.terms));
            carried_b = any_b(0u, task, walk.depth, pixels, source.terms);
        } else {
            carried_a = load_a(source, task);
            carried_b = load_b(source, task);
        }
        var sums: CoopSums;
        while walk.left > 0u {
            put(task, walk.depth, carried_a, carried_b);
            workgroupBarrier();
            let next = walk_next(walk, task);
            if next.left > 0u { source = source_next(source, walk, next, task, step); }
            // After the last tile this one again, for nobody: not to ask is faster.
            carried_a = load_a(source, task);
            carried_b = load_b(source, task);
            walk = next;
            coop_multiply(share, &sums);
            workgroupBarrier();
        }
        for (var pair = 0u; pair < COOP_PAIRS; pair++) {
            let place = coop_pair(pair);
            coop_spill(first, subgroup, 2u * place.x + place.y, &sums);
            workgroupBarrier();
            for (var i = thread; i < coop_spilt(first, subgroups); i += COOP_THREADS) {
                let at = coop_place(first, place, i);
                conv_store(task.row_0 + at.x, rows.phase, task.column_0 + at.y / 4u, workgroup.z, coop_found(i));
            }
            workgroupBarrier();
        }
    }
}
