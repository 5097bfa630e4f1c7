//! How workgroups share out long sums: the host side of `shaders/shared/tree.wgsl`. All of it follows from a shape and a class
//! of adapters, so that it is known before a device is, and so that the order of the additions is the same on every run.

use crate::gpu::{GpuError, KernelSpec, Launch};

use super::{AdapterClass, Constant, Target};

/// Invocations of a workgroup at most; `TREE_INVOCATIONS` in `shaders/shared/tree.wgsl`.
const INVOCATIONS: usize = 256;

/// Columns that fill a whole line of a GPU's cache.
const WIDE_COLUMNS: usize = 32;

/// Columns that fill the least of a line that is fetched.
const NARROW_COLUMNS: usize = 8;

/// Rounds of all of an invocation's loops together, after which llvmpipe ends them without a word.
pub(crate) const SOFTWARE_ROUNDS: usize = 65_535;

/// Lanes of the software adapters that sums are shared out for: others have two subgroups for one, or half of one idle.
const SOFTWARE_LANES: usize = 8;

/// Terms of a row up to which one invocation sums it on a software adapter, and up to which a subgroup does. llvmpipe ends an
/// invocation's loops, without a word, after 65,535 rounds altogether: with three passes over a row a subgroup gets to 174,760.
const ALONE: usize = 1 << 14;
const SUBGROUP: usize = 1 << 17;

/// Rows up to which a column is summed at once.
const UNCUT_ROWS: usize = 1024;

/// The sums that a workgroup makes side by side, and the invocations that share each, a power of two: the overrides `SUMS` and
/// `LANES` of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(super) sums: usize,
    pub(super) lanes: usize,
}

impl Tree {
    /// For sums over `terms` neighbours in memory.
    pub(crate) fn rows(class: AdapterClass, terms: usize) -> Self {
        match class {
            AdapterClass::Gpu(_) => {
                let lanes = terms.next_power_of_two().min(INVOCATIONS);
                Self { sums: (64 / lanes).max(1), lanes }
            }
            // A row of its own for each lane of a subgroup, without barriers; a longer one for a whole subgroup, and one that
            // would take it more rounds than the driver runs for a workgroup.
            AdapterClass::Software(_) if terms <= ALONE => Self { sums: SOFTWARE_LANES, lanes: 1 },
            AdapterClass::Software(_) => {
                Self { sums: 1, lanes: if terms <= SUBGROUP { SOFTWARE_LANES } else { INVOCATIONS } }
            }
        }
    }

    /// For sums over `rows` rows, of `columns` neighbours in memory.
    pub(crate) fn columns(class: AdapterClass, rows: usize, columns: usize) -> Self {
        match class {
            AdapterClass::Gpu(_) => {
                // Whole lines of the cache where their lanes get by with 32 rounds.
                let wide = rows <= 32 * INVOCATIONS / WIDE_COLUMNS;
                let most = if wide { WIDE_COLUMNS } else { NARROW_COLUMNS };
                let sums = columns.next_power_of_two().min(most);
                Self { sums, lanes: (INVOCATIONS / sums).min(rows.next_power_of_two()) }
            }
            AdapterClass::Software(_) => Self { sums: 32, lanes: 1 },
        }
    }

    /// With so many lanes for each sum over `terms` that none comes to the rounds after which a software adapter ends loops.
    pub(crate) fn within_software_rounds(mut self, terms: usize) -> Self {
        while self.chain(terms, 1) > SOFTWARE_ROUNDS && self.lanes < INVOCATIONS {
            if self.threads() >= INVOCATIONS {
                self.sums = (self.sums / 2).max(1);
            }
            self.lanes *= 2;
        }
        self
    }

    /// Parts of sums over `rows` rows, each a sum of [`Tree::columns`], which another run over the parts adds up.
    pub(crate) fn parts(class: AdapterClass, rows: usize) -> usize {
        if rows <= UNCUT_ROWS {
            return 1;
        }
        match class {
            // 8 lanes a column first, 32 then: rows / (8 parts) rounds and parts / 32 are the same number.
            AdapterClass::Gpu(_) => 2 * rows.isqrt(),
            AdapterClass::Software(_) => rows.isqrt(),
        }
    }

    pub(super) fn threads(self) -> usize {
        self.sums * self.lanes
    }

    /// Rounds of a loop over `terms`, of which a lane takes `per_round` a round, and the tree's steps.
    pub(crate) fn chain(self, terms: usize, per_round: usize) -> usize {
        terms.div_ceil(self.lanes * per_round) + per_round.ilog2() as usize + self.lanes.ilog2() as usize
    }

    /// Workgroups for `sums` sums.
    pub(crate) fn workgroups(self, sums: usize) -> usize {
        sums.div_ceil(self.sums).max(1)
    }

    /// A launch of `workgroups`, folded over x and y: the kernel indexes them by `index_1d`. Its overrides are the tree's and
    /// `constants`.
    pub(crate) fn launch(
        self,
        target: &Target,
        spec: &'static KernelSpec,
        constants: &[Constant],
        workgroups: usize,
        chain: usize,
    ) -> Result<Launch, GpuError> {
        let grid = target.grid_1d(spec, workgroups, 1)?;
        let mut launch = Launch::new(spec, &self.constants(), grid, self.threads()).chained(chain);
        launch.constants.extend_from_slice(constants);
        Ok(launch)
    }

    pub(super) fn constants(self) -> [Constant; 2] {
        [("SUMS", self.sums as f64), ("LANES", self.lanes as f64)]
    }
}
