//! What the kernels for software adapters go by.

/// Lanes of a subgroup that `matmul_software` is written for.
pub(super) const SOFTWARE_LANES: u32 = 8;

/// How many lanes of `shared/tile.wgsl` have rows where there are `rows` in all: as few kernels as the cases are worth.
pub(super) fn row_lanes(rows: usize) -> f64 {
    rows.div_ceil(4).next_power_of_two().min(SOFTWARE_LANES as usize) as f64
}
