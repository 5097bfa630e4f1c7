//! The trial of a pass of a convolution.

use crate::gpu::{GpuError, Grid};

use super::{
    super::{ConvOptions, ConvPass, ConvShape, Ending, padded_channels},
    Trial, from_eighths, from_sums, operand,
};

const BATCH: usize = 2;
const WIDTH: usize = 6;

/// What a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernels) enum TrialForm {
    /// Each tap by itself.
    Taps {
        /// Octets line up and a tile of terms has one tap.
        whole: bool,
        /// Forward or data gradient sum their terms in parts.
        split: bool,
    },
    /// A row of a 3 x 3 kernel's taps at once, whose octets line up.
    Row,
}

impl TrialForm {
    /// Of taps, two phases of a data gradient, rows and columns with strides of their own; but one where sums are cut.
    fn options(self) -> ConvOptions {
        let stride = if matches!(self, Self::Taps { split: false, .. }) { [2, 1] } else { [1, 1] };
        let side = if matches!(self, Self::Row) { 3 } else { 2 };
        ConvOptions { stride, ..ConvOptions::square(side).padding(1) }
    }

    fn is_whole(self) -> bool {
        matches!(self, Self::Row | Self::Taps { whole: true, .. })
    }

    fn is_split(self) -> bool {
        matches!(self, Self::Taps { split: true, .. })
    }
}

/// A pass of a convolution whose product has tiles of `sides`: more than one in each direction, edges that fill none, padding
/// on every side and, behind the last channel, padding channels.
pub(in crate::kernels) fn conv_trial(
    sides: [usize; 2],
    pass: ConvPass,
    form: TrialForm,
    ending: Ending,
) -> Result<Trial, GpuError> {
    let (options, whole, split) = (form.options(), form.is_whole(), form.is_split());
    let taps: usize = options.kernel.iter().product();
    let [rows, columns] = sides;
    // Lines of the output; the input has stride[0] for each, but one for the padding.
    let lines_for = |pixels: usize, width: usize| (pixels + 10).div_ceil(BATCH * width);
    let (lines, inputs, outputs) = match (pass, whole) {
        _ if form == TrialForm::Row => (8, columns + 6, rows + 6),
        (ConvPass::Forward, _) => (lines_for(rows, WIDTH + 1), if whole { 64 } else { 10 }, columns + 6),
        // 34 channels, 36 with padding, let whole taps be left out that a phase does not reach.
        (ConvPass::DataGradient, _) => (lines_for(rows, WIDTH) + 1, columns + 6, if whole { 64 } else { 34 }),
        (ConvPass::WeightGradient, true) => (8, columns / taps + 7, rows + 6),
        (ConvPass::WeightGradient, false) => (8, columns / taps + 9, rows + 6),
    };
    // So many lines of the input, with one of zeros on both sides, make so many of the output.
    let in_lines = options.stride[0] * (lines - 1) + options.kernel[0] - 2;
    let shape = ConvShape::new(BATCH, [in_lines, WIDTH, inputs], outputs, &options)?;
    let [images, results] = shape.words();
    let x = Image { padded: padded_channels(inputs), values: operand(1, images) };
    let y = Image { padded: padded_channels(outputs), values: operand(2, results) };
    let weights = Weights::new(&shape);
    let sums = sums((&shape, &options), pass, [&x, &y], &weights);
    let parts = if split || (pass == ConvPass::WeightGradient && ending == Ending::PLAIN) { 2 } else { 1 };
    let [product_rows, quads, phases] = shape.product(pass);
    let column_tiles = match form {
        TrialForm::Row => options.kernel[0] * inputs.div_ceil(columns),
        TrialForm::Taps { .. } => (4 * quads).div_ceil(columns),
    };
    let z = if pass == ConvPass::DataGradient && !split { phases } else { parts };
    let (a, b, row) = match pass {
        ConvPass::Forward => (x.values, weights.values, [y.padded, outputs]),
        ConvPass::DataGradient => (y.values, weights.values, [x.padded, outputs]),
        ConvPass::WeightGradient => (y.values, x.values, [1, outputs]),
    };
    Ok(Trial {
        a: from_eighths(a),
        b: from_eighths(b),
        sums,
        columns: row,
        parts,
        grid: Grid([product_rows.div_ceil(rows), column_tiles, z].map(|side| side as u32)),
        immediates: bytemuck::bytes_of(&shape).to_vec(),
    })
}

/// [pixels, padded channels]
struct Image {
    padded: usize,
    values: Vec<i32>,
}

impl Image {
    fn pixel(&self, number: usize, channels: usize) -> &[i32] {
        &self.values[number * self.padded..][..channels]
    }
}

/// As [`conv_pack`](super::super::conv_pack) leaves them: [taps, padded in, padded out].
struct Weights {
    padded: [usize; 2],
    values: Vec<i32>,
}

impl Weights {
    fn new(shape: &ConvShape) -> Self {
        let channels = [shape.input()[2], shape.output()[2]];
        let padded = channels.map(padded_channels);
        let mut values = operand(5, shape.packed_words());
        for (line, values) in values.chunks_mut(padded[1]).enumerate() {
            values[channels[1]..].fill(0);
            if line % padded[0] >= channels[0] {
                values.fill(0);
            }
        }
        Self { padded, values }
    }

    /// From an input channel to each output, at a tap.
    fn line(&self, tap: usize, input: usize, outputs: usize) -> &[i32] {
        &self.values[(tap * self.padded[0] + input) * self.padded[1]..][..outputs]
    }
}

/// The sums of a pass over images x and y, y being the gradient of the output in the gradients' passes.
fn sums(
    (shape, options): (&ConvShape, &ConvOptions),
    pass: ConvPass,
    [x, y]: [&Image; 2],
    weights: &Weights,
) -> Vec<Option<f64>> {
    let [_, _, inputs] = shape.input();
    let [_, _, outputs] = shape.output();
    let taps = shape.taps();
    let (words, row) = match pass {
        ConvPass::Forward => (y.values.len(), y.padded),
        ConvPass::DataGradient => (x.values.len(), x.padded),
        ConvPass::WeightGradient => (taps * inputs * outputs, outputs),
    };
    let mut sums = vec![0; words];
    for [from, to, tap] in meetings(shape, options) {
        for (input, x) in x.pixel(from, inputs).iter().enumerate() {
            let (y, weights) = (y.pixel(to, outputs), weights.line(tap, input, outputs));
            match pass {
                ConvPass::Forward => {
                    let sums = &mut sums[to * row..][..outputs];
                    sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * weight);
                }
                ConvPass::DataGradient => {
                    sums[from * row + input] += y.iter().zip(weights).map(|(y, weight)| y * weight).sum::<i32>();
                }
                ConvPass::WeightGradient => {
                    let sums = &mut sums[(tap * inputs + input) * row..][..outputs];
                    sums.iter_mut().zip(y).for_each(|(sum, y)| *sum += x * y);
                }
            }
        }
    }
    if pass == ConvPass::WeightGradient {
        // [taps, in, out] to [out, in, taps]
        let sum_at = |at: usize| sums[(at % taps * inputs + at / taps % inputs) * outputs + at / taps / inputs];
        return from_sums((0..words).map(sum_at));
    }
    let channels = if pass == ConvPass::Forward { outputs } else { inputs };
    let mut all = from_sums(sums);
    // Padding channels hold finite numbers without meaning.
    all.chunks_mut(row).for_each(|pixel| pixel[channels..].fill(None));
    all
}

/// Each pixel of the input and of the output that a tap joins.
fn meetings(shape: &ConvShape, ConvOptions { kernel, stride, .. }: &ConvOptions) -> Vec<[usize; 3]> {
    let ([height, width, _], [lines, across, _]) = (shape.input(), shape.output());
    let mut all = Vec::new();
    for tap in 0..shape.taps() {
        for to in 0..BATCH * lines * across {
            // With a padding of 1; what lies above or left of the image wraps past its end.
            let y = (to / across % lines * stride[0] + tap / kernel[1]).wrapping_sub(1);
            let x = (to % across * stride[1] + tap % kernel[1]).wrapping_sub(1);
            if y < height && x < width {
                all.push([(to / across / lines * height + y) * width + x, to, tap]);
            }
        }
    }
    all
}
