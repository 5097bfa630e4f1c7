// A batch from the resident samples: gathered, augmented and normalised in one go.
//
//   output[row, y, x, c] = value of channel c at the source of (y, x) * normalisation[c].x + normalisation[c].y
//   rows >= valid are 0, and so are padding channels and what cutout cuts
//
// Augmentation of sample id in an epoch, by bits of Philox(counter (id, epoch, k, NOISE_STREAM_AUGMENT), key = seed):
//   crop     source = (y, x) + offset - crop_padding, offset uniform in [0, 2 crop_padding] (k = 0: words 0 and 1); outside lies
//            0, or with REFLECT the image mirrored at its edge pixels
//   flip     x mirrored before that where the top bit of word 2 (k = 0) is set
//   cutout   a square of side cutout_size around a uniform pixel (k = 1: words 0 and 1), cut at the edges, is 0
//
// Shapes    samples: [samples, channels, height, width], bytes four to a word or, with NUMBERS, f32; indices, ids: [positions], a
//           sample's place in `samples` and its number in the data set; normalisation: [channels];
//           output: [batch, height, width, stride], or with PLANAR [batch, channels * height * width], as the bytes lie.
// Dispatch  grid_1d(batch * height * width, WORKGROUP_SIZE), folded; one pixel an invocation.
// Source    torchvision's RandomCrop(padding) and RandomHorizontalFlip; DeVries & Taylor, "Cutout", 2017.

override WORKGROUP_SIZE: u32 = 64u;
override PLANAR: bool = false;
override NUMBERS: bool = false;
override AUGMENT: bool = false;
override REFLECT: bool = false;

struct Batch {
    first: u32,
    valid: u32,
    batch: u32,
    channels: u32,
    height: u32,
    width: u32,
    stride: u32,
    crop_padding: u32,
    flip: u32,
    cutout_size: u32,
    epoch: u32,
    seed_low: u32,
    seed_high: u32,
}

var<immediate> values: Batch;
@group(0) @binding(0) var<storage, read> samples: array<u32>;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read> normalisation: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Real>;

// Uniform below `bound`, at most 2^16, from the upper half of a word.
fn below(word: u32, bound: u32) -> u32 {
    return ((word >> 16u) * bound) >> 16u;
}

fn reflected(i: i32, size: u32) -> i32 {
    let last = i32(size) - 1;
    let once = abs(i);
    return select(once, 2 * last - once, once > last);
}

// Where a pixel comes from; `inside` is false past the edges, `kept` false within the cutout.
struct Origin {
    y: u32,
    x: u32,
    inside: bool,
    kept: bool,
}

fn origin(id: u32, y: u32, x: u32) -> Origin {
    if !AUGMENT { return Origin(y, x, true, true); }
    let key = vec2<u32>(values.seed_low, values.seed_high);
    let bits = philox(vec4<u32>(id, values.epoch, 0u, NOISE_STREAM_AUGMENT), key);
    let flipped = values.flip == 1u && (bits.z >> 31u) == 1u;
    let range = 2u * values.crop_padding + 1u;
    var sy = i32(y + below(bits.x, range)) - i32(values.crop_padding);
    var sx = i32(select(x, values.width - 1u - x, flipped) + below(bits.y, range)) - i32(values.crop_padding);
    if REFLECT {
        sy = reflected(sy, values.height);
        sx = reflected(sx, values.width);
    }
    var kept = true;
    if values.cutout_size > 0u {
        let centre = philox(vec4<u32>(id, values.epoch, 1u, NOISE_STREAM_AUGMENT), key);
        let half = i32(values.cutout_size / 2u);
        let dy = i32(y) - i32(below(centre.x, values.height)) + half;
        let dx = i32(x) - i32(below(centre.y, values.width)) + half;
        kept = dy < 0 || dx < 0 || dy >= i32(values.cutout_size) || dx >= i32(values.cutout_size);
    }
    // A negative source wraps to a large number.
    let inside = u32(sy) < values.height && u32(sx) < values.width;
    return Origin(u32(sy), u32(sx), inside, kept);
}

fn value_at(sample: u32, channel: u32, source: Origin) -> f32 {
    if !source.kept { return 0.0; }
    var value = 0.0;
    if source.inside {
        let at = ((sample * values.channels + channel) * values.height + source.y) * values.width + source.x;
        if NUMBERS {
            value = bitcast<f32>(samples[at]);
        } else {
            value = f32((samples[at / 4u] >> (8u * (at % 4u))) & 255u);
        }
    }
    return value * normalisation[channel].x + normalisation[channel].y;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn gather(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let area = values.height * values.width;
    let row = index / area;
    if row >= values.batch { return; }
    let pixel = index - row * area;
    let valid = row < values.valid;
    var sample = 0u;
    var source: Origin;
    if valid {
        sample = indices[values.first + row];
        source = origin(ids[values.first + row], pixel / values.width, pixel % values.width);
    }
    let channels = select(values.stride, values.channels, PLANAR);
    for (var channel = 0u; channel < channels; channel++) {
        var value = 0.0;
        if valid && channel < values.channels { value = value_at(sample, channel, source); }
        let place = select(index * values.stride + channel, (row * values.channels + channel) * area + pixel, PLANAR);
        output[place] = Real(value);
    }
}
