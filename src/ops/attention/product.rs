//! The products that attention is made of: the host side of `shaders/attention_block.wgsl` and `shaders/attention_software.wgsl`.

use crate::{
    gpu::{Access, Dispatch, Element, Gpu, GpuError, KernelSpec, Launch, View, WORD_BYTES, Work},
    kernels::{AdapterClass, ByStore, Target, Tiling, flag},
};

use super::shape::{AttentionShape, PARTS};

const BINDINGS: &[(&str, Access)] = &[("a", Access::Real), ("b", Access::Real), ("c", Access::Out)];

macro_rules! block {
    ($width:literal) => {
        KernelSpec {
            entry: "attention_block",
            source: concat!(
                include_str!("../../../shaders/attention_block.wgsl"),
                include_str!("../../../shaders/shared/attention.wgsl"),
                include_str!("../../../shaders/shared/block.wgsl"),
                include_str!("../../../shaders/shared/index.wgsl"),
                include_str!(concat!("../../../shaders/shared/store_", $width, ".wgsl")),
            ),
            bindings: BINDINGS,
            immediate_bytes: size_of::<Values>() as u32,
        }
    };
}

pub(super) static BLOCK: ByStore = ByStore { vectors: block!("4"), elements: block!("1") };

macro_rules! software {
    ($width:literal) => {
        KernelSpec {
            entry: "attention_software",
            source: concat!(
                include_str!("../../../shaders/attention_software.wgsl"),
                include_str!("../../../shaders/shared/attention.wgsl"),
                include_str!("../../../shaders/shared/tile.wgsl"),
                include_str!("../../../shaders/shared/index.wgsl"),
                include_str!(concat!("../../../shaders/shared/store_", $width, ".wgsl")),
            ),
            bindings: BINDINGS,
            immediate_bytes: size_of::<Values>() as u32,
        }
    };
}

pub(super) static SOFTWARE: ByStore = ByStore { vectors: software!("4"), elements: software!("1") };

/// `AttentionProduct` of `shaders/shared/attention.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Values {
    batch: u32,
    heads: u32,
    length: u32,
    head_dim: u32,
    scale: f32,
    /// Width and offset of each of a, b and c.
    lines: [[u32; 2]; 3],
}

/// A tensor, or a part of one, as a product sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matrix {
    /// [batch, heads, length, length]
    Scores,
    /// [batch, length, C]
    Output,
    /// One of the parts of [batch, length, 3 C].
    Packed(usize),
}

const QUERIES: Matrix = Matrix::Packed(0);
const KEYS: Matrix = Matrix::Packed(1);
const VALUES: Matrix = Matrix::Packed(2);

impl Matrix {
    /// Elements of the tensor.
    fn len(self, shape: &AttentionShape) -> usize {
        match self {
            Self::Scores => shape.scores(),
            Self::Output => shape.outputs(),
            Self::Packed(_) => shape.inputs(),
        }
    }

    /// Elements of it that a product touches.
    fn touched(self, shape: &AttentionShape) -> usize {
        if self == Self::Scores { shape.seen() } else { shape.outputs() }
    }

    /// Elements from one position's vector to the next, and which of them the first is.
    fn lines(self, shape: &AttentionShape) -> [u32; 2] {
        let channels = shape.channels();
        let lines = match self {
            Self::Scores => [shape.length, 0],
            Self::Output => [channels, 0],
            Self::Packed(part) => [PARTS * channels, part * channels],
        };
        lines.map(|extent| extent as u32)
    }

    /// Whether its lines begin at whole vec4s.
    fn is_aligned(self, shape: &AttentionShape) -> bool {
        let extent = if self == Self::Scores { shape.length } else { shape.head_dim };
        extent.is_multiple_of(4)
    }
}

/// A product for each head of each sample: of which tensors it is, and which it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionProduct {
    /// scores = Q K' / sqrt(d), of the packed input twice
    Scores,
    /// output = P V, of probabilities and the packed input
    Output,
    /// gradient of P = dO V', of the output's gradient and the packed input
    ProbabilityGradient,
    /// gradient of Q = dS K / sqrt(d), of the scores' gradient and the packed input, into its part of the packed gradient
    QueryGradient,
    /// gradient of K = dS' Q / sqrt(d), of the scores' gradient and the packed input, likewise
    KeyGradient,
    /// gradient of V = P' dO, of the probabilities and the output's gradient, likewise
    ValueGradient,
}

impl AttentionProduct {
    /// The three that the packed input's gradient is made of.
    pub(super) const GRADIENTS: [Self; PARTS] = [Self::QueryGradient, Self::KeyGradient, Self::ValueGradient];

    /// a, b and c.
    fn matrices(self) -> [Matrix; 3] {
        match self {
            Self::Scores => [QUERIES, KEYS, Matrix::Scores],
            Self::Output => [Matrix::Scores, VALUES, Matrix::Output],
            Self::ProbabilityGradient => [Matrix::Output, VALUES, Matrix::Scores],
            Self::QueryGradient => [Matrix::Scores, KEYS, QUERIES],
            Self::KeyGradient => [Matrix::Scores, QUERIES, KEYS],
            Self::ValueGradient => [Matrix::Scores, Matrix::Output, VALUES],
        }
    }

    fn makes_scores(self) -> bool {
        matches!(self, Self::Scores | Self::ProbabilityGradient)
    }

    fn values(self, shape: &AttentionShape) -> Values {
        let AttentionShape { batch, length, heads, head_dim, .. } = *shape;
        let [batch, heads, length, head_dim] = [batch, heads, length, head_dim].map(|side| side as u32);
        let is_scaled = matches!(self, Self::Scores | Self::QueryGradient | Self::KeyGradient);
        let scale = if is_scaled { shape.scale() } else { 1.0 };
        let lines = self.matrices().map(|matrix| matrix.lines(shape));
        Values { batch, heads, length, head_dim, scale, lines }
    }

    /// Columns of a head's product, which has a row for each position, and terms of each sum.
    fn columns_and_terms(self, shape: &AttentionShape) -> [usize; 2] {
        let [length, head_dim] = [shape.length, shape.head_dim];
        if self.makes_scores() { [length, head_dim] } else { [head_dim, length] }
    }

    /// Operations of any of them.
    pub(super) fn flops(shape: &AttentionShape) -> u64 {
        2 * shape.seen() as u64 * shape.head_dim as u64
    }

    /// What it has to do with operands stored so, the result added to what is there or not.
    pub(super) fn work(self, shape: &AttentionShape, elements: [Element; 3], accumulate: bool) -> Work {
        let bytes = |place: usize| {
            let words = elements[place].words(self.matrices()[place].touched(shape));
            words as u64 * WORD_BYTES
        };
        let result = if accumulate { 2 * bytes(2) } else { bytes(2) };
        Work { flops: Self::flops(shape), bytes: bytes(0) + bytes(1) + result }
    }

    /// What [`attention_product`] launches.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid, [`GpuError::Shape`] for scores past 2^32 elements.
    pub fn launch(self, target: &Target, shape: &AttentionShape, accumulate: bool) -> Result<Launch, GpuError> {
        shape.expect_scores("attention")?;
        let tiling = Tiling::new(target, shape.length);
        let [a, b, c] = self.matrices().map(|matrix| matrix.is_aligned(shape));
        let spec = tiling.spec(&BLOCK, &SOFTWARE, c);
        let [columns, terms] = self.columns_and_terms(shape);
        let tiles = shape.sequences() * tiling.count([shape.length, columns]);
        let grid = target.grid_1d(spec, tiles, 1)?;
        let mut constants = tiling.constants;
        constants.extend([
            flag("A_TRANSPOSED", matches!(self, Self::KeyGradient | Self::ValueGradient)),
            flag("B_TRANSPOSED", self.makes_scores()),
            flag("CAUSAL", shape.causal),
            flag("A_ALIGNED", a),
            flag("B_ALIGNED", b),
            flag("ACCUMULATE", accumulate),
        ]);
        if tiling.is_software {
            constants.push(flag("DIRECT", c && !accumulate));
        }
        let rounds = terms.div_ceil(tiling.tile.depth as usize);
        Ok(Launch::new(spec, &constants, grid, tiling.threads).chained(rounds).tiled(tiling.tile))
    }
}

/// Plans `c (+)= scale a b` for each head of each sample; scores that are masked are not written.
///
/// Shapes: see [`AttentionProduct`] and [`AttentionShape`].
///
/// # Errors
/// [`GpuError::Length`] naming the operand that does not fit, [`GpuError::Grid`] past the adapter's grid.
pub fn attention_product(
    gpu: &Gpu,
    class: AdapterClass,
    product: AttentionProduct,
    shape: &AttentionShape,
    views: [&View; 3],
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    let launch = product.launch(&Target::with_class(gpu, class), shape, accumulate)?;
    for ((view, matrix), (argument, _)) in views.iter().zip(product.matrices()).zip(BINDINGS) {
        view.expect_len(launch.spec.entry, argument, matrix.len(shape))?;
    }
    gpu.bind(&launch, &views, bytemuck::bytes_of(&product.values(shape)))
}
