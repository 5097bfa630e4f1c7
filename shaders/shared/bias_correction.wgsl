// The correction of moments that start at 0, where only the device knows how many updates they have had.

// 1 - (1 - x)^t for x in (0, 1], by c(a + b) = c(a) + c(b) - c(a) c(b), in which nothing cancels.
fn bias_correction(x: f32, t: u32) -> f32 {
    var result = 0.0;
    var power = x;
    for (var left = t; left != 0u; left >>= 1u) {
        if (left & 1u) == 1u { result += power * (1.0 - result); }
        power += power * (1.0 - power);
    }
    return result;
}
