// Two statistics of each of four channels over some rows, and how those of a workgroup's invocations become one.

// Centred: the rows' mean, the sum of their squared distances from it, and how many they are. Otherwise two plain sums.
struct Moments {
    first: vec4<f32>,
    second: vec4<f32>,
    count: f32,
}

// Invocations of the largest workgroup.
const MOMENTS_LANES: u32 = 256u;

var<workgroup> moments_firsts: array<vec4<f32>, MOMENTS_LANES>;
var<workgroup> moments_seconds: array<vec4<f32>, MOMENTS_LANES>;
var<workgroup> moments_counts: array<f32, MOMENTS_LANES>;

// The centred moments of rows whose distances from `shift` have the sum `sum`. No digit of a large mean is lost: where `shift`
// is itself one of n rows, or the mean of n equal parts of them, `squares` is at most n times what is left of it.
fn moments_shifted(shift: vec4<f32>, sum: vec4<f32>, squares: vec4<f32>, count: f32) -> Moments {
    let distance = sum / count;
    return Moments(shift + distance, squares - sum * distance, count);
}

// Both together: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
// Where `b` has no rows it is zeros and changes nothing, as long as distances that overflow when squared meet the 0 first.
fn moments_joined(centred: bool, a: Moments, b: Moments) -> Moments {
    if !centred { return Moments(a.first + b.first, a.second + b.second, 0.0); }
    let total = a.count + b.count;
    let distance = b.first - a.first;
    let step = distance * (b.count / max(total, 1.0));
    return Moments(a.first + step, a.second + b.second + distance * (step * a.count), total);
}

// Over all `rows` (a power of two) of `columns` invocations each, in an order that only their numbers decide: the result is
// that of row 0. An invocation writes where nobody has read before, so a step takes one barrier; every invocation of the
// workgroup has to call this.
fn moments_over_rows(centred: bool, own: Moments, local: u32, rows: u32, columns: u32) -> Moments {
    var all = own;
    for (var half = rows / 2u; half > 0u; half /= 2u) {
        let row = local / columns;
        if row >= half && row < 2u * half {
            moments_firsts[local] = all.first;
            moments_seconds[local] = all.second;
            moments_counts[local] = all.count;
        }
        workgroupBarrier();
        if row < half {
            let other = local + half * columns;
            let found = Moments(moments_firsts[other], moments_seconds[other], moments_counts[other]);
            all = moments_joined(centred, all, found);
        }
    }
    return all;
}

// As moments_over_rows, left where every invocation finds it: moments_shared(column).
fn moments_share(centred: bool, own: Moments, local: u32, rows: u32, columns: u32) {
    let all = moments_over_rows(centred, own, local, rows, columns);
    // Row 0 has neither written nor read its own places.
    if local < columns {
        moments_firsts[local] = all.first;
        moments_seconds[local] = all.second;
        moments_counts[local] = all.count;
    }
    workgroupBarrier();
}

fn moments_shared(column: u32) -> Moments {
    return Moments(moments_firsts[column], moments_seconds[column], moments_counts[column]);
}
