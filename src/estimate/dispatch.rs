//! How long one dispatch would take.

use crate::gpu::{Launch, ProductTile, Work};

use super::GpuDescription;

/// Of the rate in f32 by the data sheet, what multiply-adds reach that are in registers: an H200's 48.8 of 66.9 TFLOP/s.
const MULTIPLY_ADDS: f64 = 0.73;

/// What reading operands from workgroup memory adds to multiply-adds, in the time that it would take alone at the data sheet's
/// bandwidth: neighbours share what they read. On an H200 8 x 8 sums an invocation reach 37.5 TFLOP/s, 4 x 4 sums 30.6, so
/// that 0.25 words more a multiply-add cost 12 fs.
const FEED: f64 = 0.40;

/// The same of cooperative matrices: an H200 reaches 589 TFLOP/s without loads, and 345 with loads of 64 x 64 sums a subgroup.
const MATRIX_FEED: f64 = 1.28;

/// Of the bandwidth by the data sheet, what sweeps reach: an H200's 4.27 of 4.8 TB/s.
const SWEEPS: f64 = 0.89;

/// Registers beside the sums of a product, by what an AMD compiler takes for tiles of 64 and of 128 (72 and 120 in all).
const PRODUCT_REGISTERS: f64 = 56.0;

/// Registers of other kernels, about.
const REGISTERS: f64 = 40.0;

/// A dispatch as far as its time depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// Workgroups in all.
    pub workgroups: u64,
    /// Invocations of each.
    pub threads: u32,
    /// Rounds that wait for each other.
    pub chain: usize,
    /// Of products, the tile of a workgroup.
    pub tile: Option<ProductTile>,
    /// Operations and bytes.
    pub work: Work,
}

impl From<&Launch> for Dispatch {
    fn from(launch: &Launch) -> Self {
        let Launch { threads, chain, tile, work, .. } = *launch;
        Self { workgroups: launch.workgroups(), threads, chain, tile, work }
    }
}

/// What a dispatch takes longest for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Being launched.
    Launch,
    /// Rounds that wait for each other.
    Latency,
    /// Bytes.
    Memory,
    /// Operations.
    Compute,
}

impl Bound {
    /// As it is written in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Latency => "latency",
            Self::Memory => "memory",
            Self::Compute => "compute",
        }
    }
}

/// The parts of a dispatch's time, seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// From the dispatch before to the first work.
    pub launch: f64,
    /// Rounds that wait for each other.
    pub latency: f64,
    /// Bytes.
    pub memory: f64,
    /// Operations.
    pub compute: f64,
}

impl Estimate {
    /// Of a dispatch on a GPU.
    #[must_use]
    pub fn new(gpu: &GpuDescription, dispatch: &Dispatch) -> Self {
        Self {
            launch: gpu.launch,
            latency: gpu.latency(dispatch),
            memory: dispatch.work.bytes as f64 / (SWEEPS * gpu.bandwidth),
            compute: gpu.compute(dispatch),
        }
    }

    /// Seconds in all.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.launch + self.latency.max(self.memory).max(self.compute)
    }

    /// What no other part hides of the rounds that wait for each other, seconds.
    #[must_use]
    pub fn excess(&self) -> f64 {
        (self.latency - self.memory.max(self.compute)).max(0.0)
    }

    /// The longest part.
    #[must_use]
    pub fn bound(&self) -> Bound {
        let parts = [
            (Bound::Launch, self.launch),
            (Bound::Latency, self.latency),
            (Bound::Memory, self.memory),
            (Bound::Compute, self.compute),
        ];
        parts.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or(Bound::Launch, |(bound, _)| *bound)
    }
}

impl GpuDescription {
    /// Workgroups that a multiprocessor holds at once: its occupancy.
    #[must_use]
    pub fn resident(&self, dispatch: &Dispatch) -> u64 {
        let threads = f64::from(dispatch.threads);
        let registers = 4.0 * threads * dispatch.tile.map_or(REGISTERS, |tile| self.product_registers(tile));
        let memory = dispatch.tile.map_or(1.0, tile_bytes);
        let room = [f64::from(self.threads) / threads, self.registers / registers, self.workgroup_memory / memory];
        let most = room.into_iter().fold(f64::from(self.workgroups), f64::min);
        (most as u64).max(1)
    }

    fn product_registers(&self, tile: ProductTile) -> f64 {
        let sums = area(tile.share) / if tile.by_matrices { f64::from(self.subgroup) } else { 1.0 };
        sums + PRODUCT_REGISTERS
    }

    fn latency(&self, dispatch: &Dispatch) -> f64 {
        let slots = u64::from(self.multiprocessors) * self.resident(dispatch);
        dispatch.workgroups.div_ceil(slots) as f64 * dispatch.chain as f64 * self.round
    }

    fn compute(&self, dispatch: &Dispatch) -> f64 {
        let busiest = dispatch.workgroups.div_ceil(u64::from(self.multiprocessors)) as f64;
        match dispatch.tile {
            Some(tile) => {
                let terms = dispatch.chain as f64 * f64::from(tile.depth);
                busiest * area(tile.sides) * terms * self.multiply_add(tile)
            }
            None => {
                let share = dispatch.work.flops as f64 / dispatch.workgroups.max(1) as f64;
                busiest * share * f64::from(self.multiprocessors) / self.f32_rate
            }
        }
    }

    /// Seconds of a multiply-add of a tile on one multiprocessor.
    fn multiply_add(&self, tile: ProductTile) -> f64 {
        let multiprocessors = f64::from(self.multiprocessors);
        let bytes_read = |lines: u32, sides| f64::from(tile.element_bytes) * f64::from(lines) / area(sides);
        let feed = bytes_read(tile.share.iter().sum(), tile.share) / (self.workgroup_bandwidth * self.clock);
        let staging = bytes_read(tile.staged, tile.sides) * multiprocessors / self.cache_bandwidth;
        let at = |rate: f64| 2.0 * multiprocessors / rate;
        match self.matrices.filter(|_| tile.by_matrices) {
            // Measured: loads, staging and multiplications take turns.
            Some(matrices) => at(matrices.rate) + MATRIX_FEED * feed + staging,
            // The next tile is fetched while the current one is multiplied.
            None => (at(MULTIPLY_ADDS * self.f32_rate) + FEED * feed).max(staging),
        }
    }
}

fn area(sides: [u32; 2]) -> f64 {
    sides.into_iter().map(f64::from).product()
}

/// Workgroup memory that a tile of both operands takes: two in turn, but for cooperative matrices.
fn tile_bytes(tile: ProductTile) -> f64 {
    let tiles = if tile.by_matrices { 1 } else { 2 };
    f64::from(tiles * tile.staged * tile.depth * tile.element_bytes)
}
