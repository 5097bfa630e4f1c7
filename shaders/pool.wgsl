// 2-d pools forward, and the choice of a max pool applied to another tensor.
//
//   max       output[o] = the first largest of its window in rows, then columns (a NaN counts as largest); chosen[o] = where
//   average   output[o] = sum of its window / window size; adaptive windows are [floor(o I/O), ceil((o + 1) I/O))
//   select    output[o] = input[chosen[o]]
//   ACCUMULATE adds to what output holds
//
// Shapes    input: [batch, in_height, in_width, quads] vec4s; output, chosen: [batch, out_height, out_width, quads] vec4s;
//           chosen counts pixels within an image.
// Dispatch  grid_1d(batch * out_height * out_width * quads, WORKGROUP_SIZE), folded.
// Source    torch.nn.MaxPool2d, AvgPool2d, AdaptiveAvgPool2d.

override WORKGROUP_SIZE: u32 = 64u;
override MODE: u32 = 0u;
override ACCUMULATE: bool = false;

var<immediate> values: PoolShape;
@group(0) @binding(0) var<storage, read_write> input: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> chosen: array<vec4<u32>>;

fn largest(image: u32, rows: PoolWindow, columns: PoolWindow, quad: u32, index: u32) -> vec4<f32> {
    let first = rows.first * values.in_width + columns.first;
    var best = vec4<f32>(input[(image + first) * values.quads + quad]);
    var at = vec4<u32>(first);
    for (var y = rows.first; y < rows.end; y++) {
        for (var x = columns.first; x < columns.end; x++) {
            let pixel = y * values.in_width + x;
            let value = vec4<f32>(input[(image + pixel) * values.quads + quad]);
            // By its bits: a comparison with NaN is false on some adapters even where it should be true.
            let nan = (bitcast<vec4<u32>>(value) & vec4<u32>(0x7FFFFFFFu)) > vec4<u32>(0x7F800000u);
            let better = (value > best) | nan;
            best = select(best, value, better);
            at = select(at, vec4<u32>(pixel), better);
        }
    }
    chosen[index] = at;
    return best;
}

fn average(image: u32, rows: PoolWindow, columns: PoolWindow, quad: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var y = rows.first; y < rows.end; y++) {
        for (var x = columns.first; x < columns.end; x++) {
            sum += vec4<f32>(input[(image + y * values.in_width + x) * values.quads + quad]);
        }
    }
    return sum / pool_divisor(MODE, values, rows, columns);
}

fn selected(image: u32, quad: u32, index: u32) -> vec4<f32> {
    // What chose kept to the image; whatever else lies there must not lead out of it.
    let last = vec4<u32>(values.in_height * values.in_width - 1u);
    let at = (image + min(chosen[index], last)) * values.quads + quad;
    return vec4<f32>(vec4<Real>(input[at.x].x, input[at.y].y, input[at.z].z, input[at.w].w));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn pool(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let pixel = index / values.quads;
    let line = pixel / values.out_width;
    let n = line / values.out_height;
    if n >= values.batch { return; }
    let quad = index - pixel * values.quads;
    let image = n * values.in_height * values.in_width;
    let rows = pool_rows(MODE, values, line - n * values.out_height);
    let columns = pool_columns(MODE, values, pixel - line * values.out_width);
    var result: vec4<f32>;
    if MODE == POOL_MAX {
        result = largest(image, rows, columns, quad, index);
    } else if MODE == POOL_SELECT {
        result = selected(image, quad, index);
    } else {
        result = average(image, rows, columns, quad);
    }
    if ACCUMULATE { result += vec4<f32>(output[index]); }
    output[index] = vec4<Real>(result);
}
