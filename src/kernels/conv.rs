//! 2-d convolutions as implicit matrix products: the host side of `shaders/conv_*.wgsl`, and the choice between them.

use crate::gpu::{Access, Dispatch, Family, Gpu, GpuError, Grid, KernelSpec, View};

use super::{
    Constant, WORKGROUP, WORKGROUP_SIZE, flag, index_u32,
    matmul::{Epilogue, SOFTWARE_LANES, epilogue_constants},
};

const BINDINGS: &[(&str, Access)] =
    &[("a", Access::Real), ("b", Access::Real), ("aux", Access::Real), ("c", Access::Out), ("pre", Access::Real)];

pub(super) static CONV_SOFTWARE: KernelSpec = KernelSpec {
    entry: "conv_software",
    source: concat!(
        include_str!("../../shaders/conv_software.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/tile.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: BINDINGS,
    immediate_bytes: size_of::<ConvShape>() as u32,
};

pub(super) static CONV_TILE: KernelSpec = KernelSpec {
    entry: "conv_tile",
    source: concat!(
        include_str!("../../shaders/conv_tile.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: BINDINGS,
    immediate_bytes: size_of::<ConvShape>() as u32,
};

pub(super) static CONV_DIRECT: KernelSpec = KernelSpec {
    entry: "conv_direct",
    source: concat!(
        include_str!("../../shaders/conv_direct.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: BINDINGS,
    immediate_bytes: size_of::<ConvShape>() as u32,
};

pub(super) static CONV_PACK: KernelSpec = KernelSpec {
    entry: "conv_pack",
    source: concat!(
        include_str!("../../shaders/conv_pack.wgsl"),
        include_str!("../../shaders/shared/conv.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
    ),
    bindings: &[("weight", Access::Real), ("output", Access::Real)],
    immediate_bytes: size_of::<ConvShape>() as u32,
};

/// Channels as images hold them: padded to whole vec4s.
#[must_use]
pub fn padded_channels(channels: usize) -> usize {
    channels.next_multiple_of(4)
}

/// The options of a convolution, with PyTorch's names; pairs are (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvOptions {
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Pixels from one output to the next.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: [usize; 2],
    /// Pixels from one tap to the next.
    pub dilation: [usize; 2],
    /// Groups of channels that see only each other.
    pub groups: usize,
}

impl ConvOptions {
    /// A square kernel with stride 1 and no padding.
    #[must_use]
    pub fn square(side: usize) -> Self {
        Self { kernel: [side; 2], stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 }
    }

    /// The same with this stride.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Self { stride: [stride; 2], ..self }
    }

    /// The same with this padding.
    #[must_use]
    pub fn padding(self, padding: usize) -> Self {
        Self { padding: [padding; 2], ..self }
    }

    /// Height and width of the output for an input of `size`; `None` if the kernel does not fit into it.
    ///
    /// Source: the formula of `torch.nn.Conv2d`.
    #[must_use]
    pub fn output_size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let side = |i: usize| {
            let reach = self.dilation[i].checked_mul(self.kernel[i].checked_sub(1)?)? + 1;
            Some((size[i] + 2 * self.padding[i]).checked_sub(reach)?.checked_div(self.stride[i])? + 1)
        };
        Some([side(0)?, side(1)?])
    }
}

/// A convolution with every size known: what the kernels are told.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ConvShape {
    batch: u32,
    input: [u32; 3],
    output: [u32; 3],
    kernel: [u32; 2],
    stride: [u32; 2],
    padding: [u32; 2],
    dilation: [u32; 2],
    groups: u32,
}

impl ConvShape {
    /// A convolution of `batch` images [height, width, channels] to `out_channels`.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for an empty side, groups that do not divide the channels, a kernel larger than the padded
    /// input, or a tensor past 2^32 elements.
    pub fn new(batch: usize, input: [usize; 3], out_channels: usize, options: &ConvOptions) -> Result<Self, GpuError> {
        let kernel = "conv";
        let wrong = |reason| {
            Err(GpuError::Shape {
                kernel,
                shape: format!("{batch} x {input:?} to {out_channels}, {options:?}"),
                reason,
            })
        };
        let [height, width, in_channels] = input;
        let sides = [batch, height, width, in_channels, out_channels, options.groups];
        if sides.into_iter().chain(options.kernel).chain(options.stride).chain(options.dilation).any(|side| side == 0) {
            return wrong("a side is empty");
        }
        if !in_channels.is_multiple_of(options.groups) || !out_channels.is_multiple_of(options.groups) {
            return wrong("groups do not divide the channels");
        }
        let Some([out_height, out_width]) = options.output_size([height, width]) else {
            return wrong("the kernel does not fit into the padded input");
        };
        let taps = options.kernel.iter().product();
        let padded = [padded_channels(in_channels), padded_channels(out_channels)];
        index_u32(kernel, &[batch, height + options.stride[0], width + options.stride[1], padded[0]])?;
        index_u32(kernel, &[batch, out_height, out_width, padded[1]])?;
        index_u32(kernel, &[taps, padded[0], padded[1]])?;
        let pair = |pair: [usize; 2]| pair.map(|side| side as u32);
        Ok(Self {
            batch: batch as u32,
            input: input.map(|side| side as u32),
            output: [out_height as u32, out_width as u32, out_channels as u32],
            kernel: pair(options.kernel),
            stride: pair(options.stride),
            padding: pair(options.padding),
            dilation: pair(options.dilation),
            groups: options.groups as u32,
        })
    }

    /// Groups of channels.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups as usize
    }

    fn image_words(&self, [height, width, channels]: [u32; 3]) -> usize {
        self.batch as usize * height as usize * width as usize * padded_channels(channels as usize)
    }

    fn taps(&self) -> usize {
        self.kernel[0] as usize * self.kernel[1] as usize
    }

    /// Words of the weights.
    #[must_use]
    pub fn weight_words(&self) -> usize {
        self.output[2] as usize * (self.input[2] / self.groups) as usize * self.taps()
    }

    /// Words of the packed weights.
    #[must_use]
    pub fn packed_words(&self) -> usize {
        self.taps() * padded_channels(self.input[2] as usize) * padded_channels(self.output[2] as usize)
    }

    /// Multiply-adds of one pass, times two.
    #[must_use]
    pub fn flops(&self) -> u64 {
        let pixels = u64::from(self.batch) * u64::from(self.output[0]) * u64::from(self.output[1]);
        2 * pixels * self.weight_words() as u64
    }

    /// Rows and columns (in quads) of a pass' product, and its phases.
    fn product(&self, pass: ConvPass) -> [usize; 3] {
        let quads = |channels: u32| padded_channels(channels as usize) / 4;
        let pixels = |height: u32, width: u32| self.batch as usize * height as usize * width as usize;
        let [in_quads, out_quads] = [quads(self.input[2]), quads(self.output[2])];
        match pass {
            ConvPass::Forward => [pixels(self.output[0], self.output[1]), out_quads, 1],
            ConvPass::DataGradient => {
                let [sh, sw] = self.stride;
                let rows = pixels(self.input[0].div_ceil(sh), self.input[1].div_ceil(sw));
                [rows, in_quads, (sh * sw) as usize]
            }
            ConvPass::WeightGradient => [self.output[2] as usize, self.taps() * in_quads, 1],
        }
    }
}

impl std::fmt::Display for ConvShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ([ih, iw, ic], [oh, ow, oc], [kh, kw]) = (self.input, self.output, self.kernel);
        write!(f, "{} x {ic} x {ih} x {iw} to {oc} x {oh} x {ow}, {kh} x {kw}", self.batch)
    }
}

/// Which product of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConvPass {
    /// output = input * weight
    Forward,
    /// grad_input from grad_output and weight
    DataGradient,
    /// grad_weight from grad_output and input
    WeightGradient,
}

/// The tensors of a pass; those without a use in the epilogue are `None`. Images are
/// [batch, height, width, padded channels].
#[derive(Clone, Copy, Debug)]
pub struct ConvOperands<'a> {
    /// Input, or gradient of the output.
    pub a: &'a View,
    /// Weight ([`conv_pack`]'s, or PyTorch's for [`ConvVariant::Direct`]); input for the weight gradient.
    pub b: &'a View,
    /// Bias [out], or saved, shaped as the input.
    pub aux: Option<&'a View>,
    /// Output, gradient of the input, or gradient of the weight [out, in / groups, kernel height, kernel width].
    pub c: &'a View,
    /// Shaped as the output.
    pub pre: Option<&'a View>,
}

/// The kernels that compute a convolution; all pass the same test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvVariant {
    /// 64 x 64 tiles through workgroup memory, for GPUs. One group.
    Tile,
    /// 32 x 32 tiles in registers, for software adapters with subgroups of 8. One group.
    Software,
    /// 32 x 64 tiles in registers, for the same adapters. One group.
    SoftwareWide,
    /// An element at a time: grouped and depthwise convolutions. Takes the weights as they are.
    Direct,
}

impl ConvVariant {
    /// Every variant that can run this shape on this adapter.
    #[must_use]
    pub fn available(gpu: &Gpu, shape: &ConvShape) -> Vec<Self> {
        let mut variants = vec![Self::Direct];
        if shape.groups == 1 {
            variants.push(Self::Tile);
            if gpu.fixed_subgroup_size() == Some(SOFTWARE_LANES) {
                variants.extend([Self::Software, Self::SoftwareWide]);
            }
        }
        variants
    }

    /// Whether it reads weights as [`conv_pack`] leaves them.
    #[must_use]
    pub fn wants_packed(self) -> bool {
        self != Self::Direct
    }

    fn spec(self) -> &'static KernelSpec {
        match self {
            Self::Tile => &CONV_TILE,
            Self::Software | Self::SoftwareWide => &CONV_SOFTWARE,
            Self::Direct => &CONV_DIRECT,
        }
    }

    fn grid(self, gpu: &Gpu, shape: &ConvShape, pass: ConvPass) -> Result<Grid, GpuError> {
        let entry = self.spec().entry;
        let [rows, quads, phases] = shape.product(pass);
        let (rows_per_tile, quads_per_tile) = match self {
            Self::Tile => (64, 16),
            Self::Software => (32, 8),
            Self::SoftwareWide => (32, 16),
            Self::Direct => {
                let elements = match pass {
                    ConvPass::Forward => shape.image_words(shape.output),
                    ConvPass::DataGradient => shape.image_words(shape.input),
                    ConvPass::WeightGradient => shape.weight_words(),
                };
                return gpu.grid_1d(entry, elements, WORKGROUP_SIZE);
            }
        };
        let limit = gpu.limits().workgroups as usize;
        let tiles = rows.div_ceil(rows_per_tile);
        let fold = tiles.div_ceil(limit);
        let grid = [tiles.div_ceil(fold), quads.div_ceil(quads_per_tile), phases * fold];
        if grid.iter().any(|side| *side > limit) {
            let groups = grid.iter().map(|side| *side as u64).product();
            return Err(GpuError::Grid { kernel: entry, groups, limit: (limit as u64).pow(3) });
        }
        Ok(Grid(grid.map(|side| side as u32)))
    }
}

/// The variant for an adapter, shape and pass.
#[must_use]
pub fn conv_variant(gpu: &Gpu, shape: &ConvShape, pass: ConvPass) -> ConvVariant {
    if shape.groups > 1 {
        return ConvVariant::Direct;
    }
    if gpu.family() != Family::Software || gpu.fixed_subgroup_size() != Some(SOFTWARE_LANES) {
        return ConvVariant::Tile;
    }
    let [_, quads, _] = shape.product(pass);
    if quads > 8 { ConvVariant::SoftwareWide } else { ConvVariant::Software }
}

fn check(
    spec: &KernelSpec,
    variant: ConvVariant,
    pass: ConvPass,
    shape: &ConvShape,
    epilogue: Epilogue,
    of: &ConvOperands<'_>,
) -> Result<(), GpuError> {
    let (input, output) = (shape.image_words(shape.input), shape.image_words(shape.output));
    let weight = if variant.wants_packed() { shape.packed_words() } else { shape.weight_words() };
    let (a, b, c) = match pass {
        ConvPass::Forward => (input, weight, output),
        ConvPass::DataGradient => (output, weight, input),
        ConvPass::WeightGradient => (output, input, shape.weight_words()),
    };
    of.a.expect_len(spec.entry, "a", a)?;
    of.b.expect_len(spec.entry, "b", b)?;
    of.c.expect_len(spec.entry, "c", c)?;
    let (aux, pre) = match epilogue {
        Epilogue::Plain => (0, 0),
        Epilogue::BiasActivation { store_pre, .. } => (shape.output[2] as usize, if store_pre { output } else { 0 }),
        Epilogue::ActivationGradient(_) => (input, 0),
    };
    for (argument, view, expected) in [("aux", of.aux, aux), ("pre", of.pre, pre)] {
        let found = view.map_or(0, View::len);
        if expected != 0 && found != expected {
            return Err(GpuError::Length { kernel: spec.entry, argument, expected, found });
        }
    }
    if shape.groups > 1 && variant != ConvVariant::Direct {
        let (kernel, shape) = (spec.entry, format!("{} groups", shape.groups));
        return Err(GpuError::Shape { kernel, shape, reason: "takes one group only" });
    }
    Ok(())
}

/// Plans a pass of a convolution with the variant given; with `accumulate` it adds to what `c` holds.
///
/// Shapes: see [`ConvOperands`]. Padding channels of an image result hold finite values without meaning.
///
/// # Errors
/// [`GpuError::Length`] naming the operand that does not fit, [`GpuError::Grid`] past the adapter's grid,
/// [`GpuError::Shape`] for groups that the variant does not take.
pub fn conv(
    gpu: &Gpu,
    variant: ConvVariant,
    pass: ConvPass,
    shape: &ConvShape,
    epilogue: Epilogue,
    accumulate: bool,
    of: &ConvOperands<'_>,
) -> Result<Dispatch, GpuError> {
    let spec = variant.spec();
    check(spec, variant, pass, shape, epilogue, of)?;
    let grid = variant.grid(gpu, shape, pass)?;
    let code = match pass {
        ConvPass::Forward => 0.0,
        ConvPass::DataGradient => 1.0,
        ConvPass::WeightGradient => 2.0,
    };
    let mut constants: Vec<Constant> = vec![("PASS", code), flag("ACCUMULATE", accumulate)];
    constants.extend(epilogue_constants(epilogue));
    match variant {
        ConvVariant::Tile => {}
        ConvVariant::Direct => constants.push(WORKGROUP),
        ConvVariant::Software | ConvVariant::SoftwareWide => {
            let in_order = pass == ConvPass::Forward || (pass == ConvPass::DataGradient && shape.stride == [1, 1]);
            constants.push(flag("DIRECT", epilogue == Epilogue::Plain && !accumulate && in_order));
            constants.push(("COLUMN_BLOCKS", if variant == ConvVariant::SoftwareWide { 2.0 } else { 1.0 }));
        }
    }
    let unused = [gpu.unused(0)?, gpu.unused(1)?];
    let views = [of.a, of.b, of.aux.unwrap_or(&unused[0]), of.c, of.pre.unwrap_or(&unused[1])];
    gpu.dispatch(spec, &constants, grid, &views, bytemuck::bytes_of(shape))
}

/// Plans the packing of a weight [out, in, kernel height, kernel width] for [`conv`].
///
/// Shapes: `output` [taps, padded in, padded out].
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit, [`GpuError::Shape`] for more than one group.
pub fn conv_pack(gpu: &Gpu, shape: &ConvShape, weight: &View, output: &View) -> Result<Dispatch, GpuError> {
    let kernel = CONV_PACK.entry;
    if shape.groups > 1 {
        let shape = format!("{} groups", shape.groups);
        return Err(GpuError::Shape { kernel, shape, reason: "takes one group only" });
    }
    weight.expect_len(kernel, "weight", shape.weight_words())?;
    output.expect_len(kernel, "output", shape.packed_words())?;
    let grid = gpu.grid_1d(kernel, shape.packed_words() / 4, WORKGROUP_SIZE)?;
    gpu.dispatch(&CONV_PACK, &[WORKGROUP], grid, &[weight, output], bytemuck::bytes_of(shape))
}
