//! Attention in memory linear in the length: the scores are made again wherever they are needed, a tile at a time, from the
//! logarithm L of each row's sum of exponentials. The host side of `shaders/flash*.wgsl`.
//!
//! ```text
//! P = exp(Q K' / sqrt(d) - L),   output = (mask P / (1 - p)) V
//! ```
//!
//! Source: Dao, Fu, Ermon, Rudra, Re, "FlashAttention: fast and memory-efficient exact attention with IO-awareness", NeurIPS 2022.

use crate::{
    gpu::{Dispatch, Gpu, GpuError, KernelSpec, Launch, ProductTile, Recorder, View, WORD_BYTES, Work},
    graph::{BatchInfo, Record},
    kernels::{AdapterClass, Constant, SOFTWARE_ROUNDS, Target, Tree, flag},
};

use super::{
    super::dropout::Dropout,
    flash_specs::{FLASH, FLASH_GRADIENT, FLASH_GRADIENT_TANGENT, FLASH_ROWS, FLASH_TANGENT, FlashValues},
    shape::AttentionShape,
};

/// Rows of a tile of queries and of one of keys; `FLASH_SIDE` in `shaders/shared/flash.wgsl`.
const SIDE: usize = 32;

/// Invocations of a workgroup; `FLASH_THREADS` there.
const THREADS: usize = 64;

/// Terms of a product of two tiles that count as a round.
const DEPTH: usize = 16;

/// Rounds of the kernels' own loops for each such round, loads included: what a software adapter counts.
const LOOPS: usize = 20;

/// Terms of a sum over a head's elements that a lane of `flash_rows` takes at least.
const ROW_TERMS: usize = 8;

/// The most elements of a head whose sums stay in registers.
const MOST_HEAD_DIM: usize = 128;

/// Words of what the gradient keeps of each row for itself: L, mu, D and D's tangent.
const ROW_WORDS: usize = 4;

/// Attention of a batch, as the kernels of the linear form do it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flash {
    /// Of what.
    pub shape: AttentionShape,
    /// The mask of the probabilities, where there is one.
    pub dropout: Option<Dropout>,
}

/// A dispatch over tiles: its kernel, the products of a tile by a tile in a round, and its flags.
pub(super) struct Tiles<'a> {
    pub(super) spec: &'static KernelSpec,
    pub(super) products: usize,
    pub(super) flags: &'a [Constant],
}

impl Flash {
    /// Whether the kernels take the shape on adapters of a class.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for a head of more than 128 elements, or on software adapters a sequence of more rounds than they run.
    pub fn check(&self, class: AdapterClass) -> Result<(), GpuError> {
        let AttentionShape { length, head_dim, .. } = self.shape;
        let wrong =
            |reason| Err(GpuError::Shape { kernel: FLASH.entry, shape: format!("{length} x {head_dim}"), reason });
        if head_dim > MOST_HEAD_DIM {
            return wrong("a head has up to 128 elements");
        }
        let longest = LOOPS * self.chain(GRADIENT_TANGENT_PRODUCTS[1]);
        if matches!(class, AdapterClass::Software(_)) && longest > SOFTWARE_ROUNDS {
            return wrong("a software adapter would end its loops");
        }
        Ok(())
    }

    /// Rounds of a dispatch with so many products for each tile.
    fn chain(&self, products: usize) -> usize {
        self.shape.length.div_ceil(SIDE) * products * self.shape.head_dim.next_multiple_of(SIDE) / DEPTH
    }

    /// Words of the rows' statistics that a gradient and its tangent keep for themselves.
    #[must_use]
    pub fn row_words(&self) -> usize {
        ROW_WORDS * self.shape.rows()
    }

    /// Operations of so many products of each score that is seen.
    pub(super) fn flops(&self, products: usize) -> u64 {
        2 * (products * self.shape.head_dim * self.shape.seen()) as u64
    }

    /// What the dispatch over the rows does, with or without tangents.
    pub(super) fn rows_work(&self, tangent: bool) -> Work {
        let (outputs, rows) = (self.shape.outputs() as u64, self.shape.rows() as u64);
        let tensors = if tangent { 2 } else { 1 };
        let words = 2 * tensors * outputs + (tensors + ROW_WORDS as u64) * rows;
        Work { flops: 2 * (2 * tensors - 1) * outputs, bytes: words * WORD_BYTES }
    }

    pub(super) fn values(&self) -> FlashValues {
        let dropout = self.dropout.unwrap_or(Dropout { probability: 0.0, layer: 0 });
        FlashValues {
            sequences: self.shape.sequences() as u32,
            length: self.shape.length as u32,
            heads: self.shape.heads as u32,
            head_dim: self.shape.head_dim as u32,
            causal: u32::from(self.shape.causal),
            scale: self.shape.scale(),
            layer: dropout.layer as u32,
            threshold: dropout.threshold(),
            kept_scale: dropout.scale(),
            step: 0,
            seed_low: 0,
            seed_high: 0,
        }
    }

    /// A launch over the tiles of each head's queries or keys.
    pub(super) fn tiles_launch(&self, target: &Target, tiles: &Tiles<'_>) -> Result<Launch, GpuError> {
        self.check(target.class)?;
        let AttentionShape { length, head_dim, .. } = self.shape;
        let grid = target.grid_1d(tiles.spec, self.shape.sequences() * length.div_ceil(SIDE), 1)?;
        let mut constants = vec![("FLASH_PARTS", head_dim.div_ceil(SIDE) as f64)];
        constants.extend_from_slice(tiles.flags);
        let side = SIDE as u32;
        let tile = ProductTile {
            sides: [side; 2],
            staged: 2 * side,
            share: [4; 2],
            depth: DEPTH as u32,
            element_bytes: WORD_BYTES as u32,
            by_matrices: false,
        };
        let launch = Launch::new(tiles.spec, &constants, grid, THREADS);
        Ok(launch.chained(self.chain(tiles.products)).tiled(tile))
    }

    /// A launch over the rows of each head's queries; whether tangents are there, of queries, keys and values, and of the gradient.
    pub(super) fn rows_launch(&self, target: &Target, tangents: [bool; 2]) -> Result<Launch, GpuError> {
        let head_dim = self.shape.head_dim;
        let tree = Tree::rows(target.class, head_dim.div_ceil(ROW_TERMS));
        let constants = [flag("TANGENT", tangents[0]), flag("GRAD_TANGENT", tangents[1])];
        let workgroups = tree.workgroups(self.shape.rows());
        tree.launch(target, &FLASH_ROWS, &constants, workgroups, tree.chain(head_dim, 1))
    }

    /// What [`flash`] launches.
    ///
    /// # Errors
    /// As [`Flash::check`]; [`GpuError::Grid`] past the target's grid.
    pub fn launch(&self, target: &Target) -> Result<Launch, GpuError> {
        let flags = [flag("DROPOUT", self.dropout.is_some())];
        self.tiles_launch(target, &Tiles { spec: &FLASH, products: FORWARD_PRODUCTS, flags: &flags })
    }

    /// What [`flash_gradient`](super::flash_gradient()) launches: over rows, over queries, over keys.
    ///
    /// # Errors
    /// As [`Flash::launch`].
    pub fn gradient_launches(&self, target: &Target, accumulate: bool) -> Result<[Launch; 3], GpuError> {
        let over = |keys: bool| {
            let flags = [flag("KEYS", keys), flag("DROPOUT", self.dropout.is_some()), flag("ACCUMULATE", accumulate)];
            let products = GRADIENT_PRODUCTS[usize::from(keys)];
            self.tiles_launch(target, &Tiles { spec: &FLASH_GRADIENT, products, flags: &flags })
        };
        Ok([self.rows_launch(target, [false; 2])?, over(false)?, over(true)?])
    }

    /// What [`flash_tangent`](super::flash_tangent()) launches.
    ///
    /// # Errors
    /// As [`Flash::launch`].
    pub fn tangent_launch(&self, target: &Target) -> Result<Launch, GpuError> {
        self.tiles_launch(target, &Tiles { spec: &FLASH_TANGENT, products: TANGENT_PRODUCTS, flags: &[] })
    }

    /// What [`flash_gradient_tangent`](super::flash_gradient_tangent()) launches: over rows, over queries, over keys. Whether the
    /// gradient has a tangent, and whether the result is added.
    ///
    /// # Errors
    /// As [`Flash::launch`].
    pub fn gradient_tangent_launches(
        &self,
        target: &Target,
        grad_tangent: bool,
        accumulate: bool,
    ) -> Result<[Launch; 3], GpuError> {
        let over = |keys: bool| {
            let flags = [flag("KEYS", keys), flag("GRAD_TANGENT", grad_tangent), flag("ACCUMULATE", accumulate)];
            let products = GRADIENT_TANGENT_PRODUCTS[usize::from(keys)];
            self.tiles_launch(target, &Tiles { spec: &FLASH_GRADIENT_TANGENT, products, flags: &flags })
        };
        Ok([self.rows_launch(target, [true, grad_tangent])?, over(false)?, over(true)?])
    }
}

/// S and the output.
pub(super) const FORWARD_PRODUCTS: usize = 2;

/// S, dP and dQ over queries; S, dP, dK and dV over keys.
pub(super) const GRADIENT_PRODUCTS: [usize; 2] = [3, 4];

/// S, its tangent's two, and the output's tangent's two.
pub(super) const TANGENT_PRODUCTS: usize = 5;

/// Three of S with its tangent and three of dP with its, then two for each of the tangents of dQ, or of dK and dV.
pub(super) const GRADIENT_TANGENT_PRODUCTS: [usize; 2] = [8, 10];

/// Dispatches of the linear form, bound.
#[derive(Debug)]
pub struct FlashDispatches {
    dispatches: Vec<Dispatch>,
    values: FlashValues,
}

impl FlashDispatches {
    /// Binds each launch to its views.
    pub(super) fn new(gpu: &Gpu, flash: &Flash, launches: &[Launch], views: &[&[&View]]) -> Result<Self, GpuError> {
        let values = flash.values();
        let bound =
            launches.iter().zip(views).map(|(launch, views)| gpu.bind(launch, views, bytemuck::bytes_of(&values)));
        Ok(Self { dispatches: bound.collect::<Result<_, _>>()?, values })
    }

    /// Records them for a step, by which dropout draws.
    pub fn record(&self, recorder: &mut Recorder<'_>, seed: u64, step: u64) {
        let values =
            FlashValues { step: step as u32, seed_low: seed as u32, seed_high: (seed >> 32) as u32, ..self.values };
        for dispatch in &self.dispatches {
            recorder.run_with(dispatch, bytemuck::bytes_of(&values));
        }
    }
}

impl Record for FlashDispatches {
    fn dispatches(&self) -> Vec<&Dispatch> {
        self.dispatches.iter().collect()
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.seed, batch.step);
    }
}

impl AttentionShape {
    /// Fails unless packed tensors, those of the output's shape and those of a word a row are as long as the shape says.
    pub(super) fn check_views(
        &self,
        kernel: &'static str,
        packed: &[(&'static str, &View)],
        outputs: &[(&'static str, &View)],
        rows: &[(&'static str, &View)],
    ) -> Result<(), GpuError> {
        for (views, len) in [(packed, self.inputs()), (outputs, self.outputs()), (rows, self.rows())] {
            views.iter().try_for_each(|(name, view)| view.expect_len(kernel, name, len))?;
        }
        Ok(())
    }
}

/// Plans attention; shapes: qkv [batch, length, 3 C], output [batch, length, C], lse [batch, heads, length] (L, for the gradient).
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit, and as [`Flash::launch`].
pub fn flash(gpu: &Gpu, flash: &Flash, [qkv, output]: [&View; 2], lse: &View) -> Result<FlashDispatches, GpuError> {
    flash.shape.check_views(FLASH.entry, &[("qkv", qkv)], &[("output", output)], &[("lse", lse)])?;
    let launch = flash.launch(&Target::for_device(gpu))?;
    FlashDispatches::new(gpu, flash, &[launch], &[&[qkv, output, lse]])
}
