//! Matrix products with an epilogue: the host side of `shaders/matmul_*.wgsl`, and the choice between them.

use crate::gpu::{Access, Dispatch, Family, Gpu, GpuError, Grid, KernelSpec, View};

use super::{Activation, Constant, flag, index_u32};

const BINDINGS: &[(&str, Access)] =
    &[("a", Access::Real), ("b", Access::Real), ("aux", Access::Real), ("c", Access::Out), ("pre", Access::Real)];

pub(super) static MATMUL_TILE: KernelSpec = KernelSpec {
    entry: "matmul_tile",
    source: concat!(
        include_str!("../../shaders/matmul_tile.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: BINDINGS,
    immediate_bytes: size_of::<MatmulShape>() as u32,
};

pub(super) static MATMUL_SOFTWARE: KernelSpec = KernelSpec {
    entry: "matmul_software",
    source: concat!(
        include_str!("../../shaders/matmul_software.wgsl"),
        include_str!("../../shaders/shared/tile.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: BINDINGS,
    immediate_bytes: size_of::<MatmulShape>() as u32,
};

/// C[m, n] = A[m, k] B[k, n]
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct MatmulShape {
    /// Rows of C.
    pub m: u32,
    /// Columns of C.
    pub n: u32,
    /// Terms of each sum.
    pub k: u32,
}

impl MatmulShape {
    /// # Errors
    /// [`GpuError::Shape`] for an empty side, or an operand past 2^32 elements.
    pub fn new(m: usize, n: usize, k: usize) -> Result<Self, GpuError> {
        let kernel = "matmul";
        if m == 0 || n == 0 || k == 0 {
            let shape = format!("m {m}, n {n}, k {k}");
            return Err(GpuError::Shape { kernel, shape, reason: "a side is empty" });
        }
        for sides in [[m, n], [m, k], [k, n]] {
            index_u32(kernel, &sides)?;
        }
        Ok(Self { m: m as u32, n: n as u32, k: k as u32 })
    }

    /// Multiply-adds, times two.
    #[must_use]
    pub fn flops(&self) -> u64 {
        2 * u64::from(self.m) * u64::from(self.n) * u64::from(self.k)
    }
}

/// How the operands lie, by their use in a linear layer with `weight` [out, in].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatmulLayout {
    /// A [m, k], B [n, k]: output = input weight'
    Forward,
    /// A [m, k], B [k, n]: grad_input = grad_output weight
    DataGradient,
    /// A [k, m], B [k, n]: grad_weight = grad_output' input
    WeightGradient,
}

/// What happens to each sum on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    Plain,
    /// activation(sum + bias), `aux` being the bias [n]; `store_pre` keeps the argument in `pre`.
    BiasActivation {
        /// The activation.
        activation: Activation,
        /// Whether backward will want the argument.
        store_pre: bool,
    },
    /// sum * activation'(saved), `aux` being what forward saved [m, n].
    ActivationGradient(Activation),
}

/// The tensors of a product; those without a use in the epilogue are `None`.
#[derive(Clone, Copy, Debug)]
pub struct MatmulOperands<'a> {
    /// [m, k] or [k, m]
    pub a: &'a View,
    /// [k, n] or [n, k]
    pub b: &'a View,
    /// Bias [n] or saved [m, n].
    pub aux: Option<&'a View>,
    /// [m, n]
    pub c: &'a View,
    /// [m, n]
    pub pre: Option<&'a View>,
}

/// The kernels that compute a product; all pass the same test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatmulVariant {
    /// 64 x 64 tiles through workgroup memory, for GPUs.
    Tile,
    /// 32 x 32 tiles in registers, for software adapters with subgroups of 8.
    Software,
    /// 32 x 64 tiles in registers, for the same adapters and products that overflow their caches.
    SoftwareWide,
}

impl MatmulVariant {
    /// Every variant that can run on this adapter.
    #[must_use]
    pub fn available(gpu: &Gpu) -> Vec<Self> {
        let mut variants = vec![Self::Tile];
        if gpu.fixed_subgroup_size() == Some(SOFTWARE_LANES) {
            variants.extend([Self::Software, Self::SoftwareWide]);
        }
        variants
    }

    fn spec(self) -> &'static KernelSpec {
        match self {
            Self::Tile => &MATMUL_TILE,
            Self::Software | Self::SoftwareWide => &MATMUL_SOFTWARE,
        }
    }

    /// Workgroups in x and y.
    fn workgroups(self, MatmulShape { m, n, .. }: MatmulShape) -> [u32; 2] {
        match self {
            Self::Tile => [n.div_ceil(64), m.div_ceil(64)],
            Self::Software => [m.div_ceil(32), n.div_ceil(32)],
            Self::SoftwareWide => [m.div_ceil(32), n.div_ceil(64)],
        }
    }

    /// Overrides that only this variant has.
    fn constants(self, layout: MatmulLayout, MatmulShape { m, n, k }: MatmulShape) -> Vec<Constant> {
        if self == Self::Tile {
            return Vec::new();
        }
        let a_extent = if layout == MatmulLayout::WeightGradient { m } else { k };
        let b_extent = if layout == MatmulLayout::Forward { k } else { n };
        let blocks = if self == Self::SoftwareWide { 2.0 } else { 1.0 };
        vec![
            flag("A_ALIGNED", a_extent.is_multiple_of(4)),
            flag("B_ALIGNED", b_extent.is_multiple_of(4)),
            flag("C_ALIGNED", n.is_multiple_of(4)),
            ("COLUMN_BLOCKS", blocks),
        ]
    }
}

/// Lanes of a subgroup that `matmul_software` is written for.
pub(super) const SOFTWARE_LANES: u32 = 8;

/// The variant for an adapter and shape.
///
/// Measured on llvmpipe (Mesa 22.3.6, two cores): see `benches/RESULTS.md`. On a software adapter without subgroups of
/// 8 the tile still gives right results.
#[must_use]
pub fn matmul_variant(gpu: &Gpu, shape: MatmulShape) -> MatmulVariant {
    if gpu.family() != Family::Software || gpu.fixed_subgroup_size() != Some(SOFTWARE_LANES) {
        return MatmulVariant::Tile;
    }
    let wide = shape.flops() >= 1 << 31 && shape.n > 32;
    if wide { MatmulVariant::SoftwareWide } else { MatmulVariant::Software }
}

fn grid(gpu: &Gpu, spec: &KernelSpec, [x, y]: [u32; 2]) -> Result<Grid, GpuError> {
    let limit = gpu.limits().workgroups;
    if x > limit || y > limit {
        let groups = u64::from(x) * u64::from(y);
        return Err(GpuError::Grid { kernel: spec.entry, groups, limit: u64::from(limit).pow(2) });
    }
    Ok(Grid([x, y, 1]))
}

fn check(spec: &KernelSpec, shape: MatmulShape, epilogue: Epilogue, of: &MatmulOperands<'_>) -> Result<(), GpuError> {
    let [m, n, k] = [shape.m, shape.n, shape.k].map(|side| side as usize);
    of.a.expect_len(spec.entry, "a", m * k)?;
    of.b.expect_len(spec.entry, "b", k * n)?;
    of.c.expect_len(spec.entry, "c", m * n)?;
    let (aux, pre) = match epilogue {
        Epilogue::Plain => (0, 0),
        Epilogue::BiasActivation { store_pre, .. } => (n, if store_pre { m * n } else { 0 }),
        Epilogue::ActivationGradient(_) => (m * n, 0),
    };
    for (argument, view, expected) in [("aux", of.aux, aux), ("pre", of.pre, pre)] {
        let found = view.map_or(0, View::len);
        if expected != 0 && found != expected {
            return Err(GpuError::Length { kernel: spec.entry, argument, expected, found });
        }
    }
    Ok(())
}

/// Plans `C = epilogue(A B)` with the variant given; with `accumulate` it adds to what C holds.
///
/// Shapes: see [`MatmulLayout`] and [`MatmulOperands`].
///
/// # Errors
/// [`GpuError::Length`] naming the operand that does not fit, [`GpuError::Grid`] past the adapter's grid.
pub fn matmul(
    gpu: &Gpu,
    variant: MatmulVariant,
    layout: MatmulLayout,
    shape: MatmulShape,
    epilogue: Epilogue,
    accumulate: bool,
    of: &MatmulOperands<'_>,
) -> Result<Dispatch, GpuError> {
    let spec = variant.spec();
    let grid = grid(gpu, spec, variant.workgroups(shape))?;
    check(spec, shape, epilogue, of)?;
    let mut constants: Vec<Constant> = vec![
        flag("A_TRANSPOSED", layout == MatmulLayout::WeightGradient),
        flag("B_TRANSPOSED", layout == MatmulLayout::Forward),
        flag("ACCUMULATE", accumulate),
    ];
    constants.extend(epilogue_constants(epilogue));
    if variant != MatmulVariant::Tile {
        let direct = epilogue == Epilogue::Plain && !accumulate && shape.n.is_multiple_of(4);
        constants.push(flag("DIRECT", direct));
    }
    constants.extend(variant.constants(layout, shape));
    let unused = [gpu.unused(0)?, gpu.unused(1)?];
    let views = [of.a, of.b, of.aux.unwrap_or(&unused[0]), of.c, of.pre.unwrap_or(&unused[1])];
    gpu.dispatch(spec, &constants, grid, &views, bytemuck::bytes_of(&shape))
}

pub(super) fn epilogue_constants(epilogue: Epilogue) -> [Constant; 3] {
    let (code, activation, store_pre) = match epilogue {
        Epilogue::Plain => (0.0, Activation::Identity, false),
        Epilogue::BiasActivation { activation, store_pre } => (1.0, activation, store_pre),
        Epilogue::ActivationGradient(activation) => (2.0, activation, false),
    };
    [("EPILOGUE", code), ("ACTIVATION", f64::from(activation.code())), flag("STORE_PRE", store_pre)]
}
