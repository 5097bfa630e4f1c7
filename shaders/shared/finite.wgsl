// Whether x is neither infinite nor NaN. By its bits: comparisons with NaN are not to be relied on.
fn finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7F800000u) != 0x7F800000u;
}
