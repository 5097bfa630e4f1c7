//! The geometry of a convolution, as `shaders/shared/conv.wgsl` has it.

use crate::gpu::GpuError;

use super::{index_u32, matmul_shape::MatmulLayout};

/// The largest kernel, stride, padding or dilation: their sums and those with a side stay within the kernels' 32 bits.
const MAX_OPTION: usize = 1 << 24;

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

    /// Height and width of the output for an input of `size`; `None` if the kernel does not fit into it, or an option is
    /// past 2^24.
    ///
    /// Source: the formula of `torch.nn.Conv2d`.
    #[must_use]
    pub fn output_size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let options = [self.kernel, self.stride, self.padding, self.dilation];
        if options.iter().flatten().any(|option| *option > MAX_OPTION) {
            return None;
        }
        let side = |i: usize| {
            let reach = self.dilation[i].checked_mul(self.kernel[i].checked_sub(1)?)?.checked_add(1)?;
            let padded = size[i].checked_add(2 * self.padding[i])?;
            padded.checked_sub(reach)?.checked_div(self.stride[i])?.checked_add(1)
        };
        Some([side(0)?, side(1)?])
    }
}

/// A convolution with every size known: what the kernels are told.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ConvShape {
    pub(super) batch: u32,
    pub(super) input: [u32; 3],
    pub(super) output: [u32; 3],
    pub(super) kernel: [u32; 2],
    pub(super) stride: [u32; 2],
    pub(super) padding: [u32; 2],
    pub(super) dilation: [u32; 2],
    pub(super) groups: u32,
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

    /// Pixels of the output, of the whole batch.
    pub(super) fn out_pixels(&self) -> usize {
        self.batch as usize * self.output[0] as usize * self.output[1] as usize
    }

    pub(super) fn batch(&self) -> usize {
        self.batch as usize
    }

    /// Height, width and channels.
    pub(super) fn input(&self) -> [usize; 3] {
        self.input.map(|side| side as usize)
    }

    /// Height, width and channels.
    pub(super) fn output(&self) -> [usize; 3] {
        self.output.map(|side| side as usize)
    }

    pub(super) fn padding(&self) -> [u32; 2] {
        self.padding
    }

    /// Whether it is 3 x 3 with neither strides nor dilation nor groups.
    pub(super) fn is_dense_three_by_three(&self) -> bool {
        (self.kernel, self.stride, self.dilation, self.groups) == ([3; 2], [1; 2], [1; 2], 1)
    }

    /// The matrix product, with m, n and k, that a pass is without any gathering or packing: 1 x 1 with neither strides
    /// nor padding nor groups, on images without padding channels.
    #[must_use]
    pub fn as_matmul(&self, pass: ConvPass) -> Option<(MatmulLayout, [usize; 3])> {
        let pixel_by_pixel = (self.kernel, self.stride, self.padding, self.groups) == ([1; 2], [1; 2], [0; 2], 1);
        let [height, width, input] = self.input();
        let [.., output] = self.output();
        if !pixel_by_pixel || !input.is_multiple_of(4) || !output.is_multiple_of(4) {
            return None;
        }
        let pixels = self.batch() * height * width;
        Some(match pass {
            ConvPass::Forward => (MatmulLayout::Forward, [pixels, output, input]),
            ConvPass::DataGradient => (MatmulLayout::DataGradient, [pixels, input, output]),
            ConvPass::WeightGradient => (MatmulLayout::WeightGradient, [output, input, pixels]),
        })
    }

    /// Whether the forward pass and the data gradient take the weights as `conv_pack` leaves them.
    #[must_use]
    pub fn reads_packed(&self) -> bool {
        self.groups == 1 && self.as_matmul(ConvPass::Forward).is_none()
    }

    /// Groups of channels.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups as usize
    }

    /// Channels of the output.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.output[2] as usize
    }

    /// Kernel and stride, human-readable: `3 x 3` or `1 x 1, stride 2`.
    #[must_use]
    pub fn window(&self) -> String {
        let ([height, width], [down, across]) = (self.kernel, self.stride);
        match (down, across) {
            (1, 1) => format!("{height} x {width}"),
            _ if down == across => format!("{height} x {width}, stride {down}"),
            _ => format!("{height} x {width}, stride {down} x {across}"),
        }
    }

    pub(super) fn image_words(&self, [height, width, channels]: [u32; 3]) -> usize {
        self.batch as usize * height as usize * width as usize * padded_channels(channels as usize)
    }

    pub(super) fn taps(&self) -> usize {
        self.kernel[0] as usize * self.kernel[1] as usize
    }

    /// Words of the input and of the output.
    #[must_use]
    pub fn words(&self) -> [usize; 2] {
        [self.image_words(self.input), self.image_words(self.output)]
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

    /// Terms of each sum of a pass, padding channels counted, those of a strided data gradient shared out among its phases.
    pub(super) fn terms(&self, pass: ConvPass) -> usize {
        let channels = |channels: u32| padded_channels(channels as usize) / self.groups();
        match pass {
            ConvPass::Forward => self.taps() * channels(self.input[2]),
            ConvPass::DataGradient => (self.taps() * channels(self.output[2])).div_ceil(self.phases()),
            ConvPass::WeightGradient => self.out_pixels(),
        }
    }

    /// Whether a pass' sums may be cut into parts: weight gradients', and those of one phase whose channels are whole quads, so
    /// that the parts are added up as rows of a product.
    pub(super) fn may_split(&self, pass: ConvPass) -> bool {
        let [[.., inputs], [.., outputs]] = [self.input(), self.output()];
        match pass {
            ConvPass::Forward => outputs.is_multiple_of(4),
            ConvPass::DataGradient => self.phases() == 1 && inputs.is_multiple_of(4),
            ConvPass::WeightGradient => true,
        }
    }

    /// Words of what a pass makes.
    pub(super) fn result_words(&self, pass: ConvPass) -> usize {
        match pass {
            ConvPass::Forward => self.image_words(self.output),
            ConvPass::DataGradient => self.image_words(self.input),
            ConvPass::WeightGradient => self.weight_words(),
        }
    }

    fn phases(&self) -> usize {
        self.stride[0] as usize * self.stride[1] as usize
    }

    /// Phases of a pass' product that any tap reaches: the sums of the others are empty.
    pub(super) fn phases_reached(&self, pass: ConvPass) -> usize {
        // Taps reach as many remainders by the stride as there are before the first that comes back to its own.
        let along = |i: usize| {
            let comes_back =
                |taps: &u32| (u64::from(*taps) * u64::from(self.dilation[i])).is_multiple_of(self.stride[i].into());
            (1..self.kernel[i]).find(comes_back).unwrap_or(self.kernel[i]) as usize
        };
        if pass == ConvPass::DataGradient { along(0) * along(1) } else { 1 }
    }

    /// Rows and columns (in quads) of a pass' product, and its phases.
    pub(super) fn product(&self, pass: ConvPass) -> [usize; 3] {
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

impl ConvPass {
    /// The override's value.
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Forward => 0,
            Self::DataGradient => 1,
            Self::WeightGradient => 2,
        }
    }
}

/// A pass of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct ConvProblem<'a> {
    /// Forward, or one of the gradients.
    pub pass: ConvPass,
    /// Every size.
    pub shape: &'a ConvShape,
}
