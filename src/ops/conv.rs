//! 2-d convolutions.
//!
//! ```text
//! output[n, y, x, o] = activation(sum over taps and channels of input weight[o, i, r, s] + bias[o])
//! ```

use std::sync::Arc;

use serde::Deserialize;

use crate::{
    graph::{
        Backward, Forward, Graph, GraphError, Inputs, Kernel, Op, Operand, ParamId, ParamInit, ParamRole, ParamSpec,
        Saved, StatId, ValueId, ValueShape,
    },
    kernels::{Activation, ConvOptions, ConvPass, ConvShape, Epilogue},
};

use super::{
    activation::{activation_kinks, gradient_before_activation, pre_activation},
    column_sum::ColumnSums,
    layer::{LayerKind, Pair, keys, one, yes},
    pair,
    products::{ConvProduct, MatrixProduct, PackWeights, gradient_epilogue},
};

/// A convolution; parameters: weight [channels, in_channels / groups, height, width], bias `[channels]` if asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv {
    /// Channels of the output.
    pub channels: usize,
    /// Kernel, stride and so on.
    pub options: ConvOptions,
    /// Whether it has a bias.
    pub bias: bool,
    /// Applied in the product's epilogue.
    pub activation: Activation,
}

const WEIGHT: usize = 0;
const BIAS: usize = 1;

/// The kernel of a pass: a 1 x 1 convolution that is a matrix product of images and weights as they lie becomes that.
fn kernel(pass: ConvPass, shape: ConvShape, epilogue: Epilogue) -> Arc<dyn Kernel> {
    match shape.as_matmul(pass) {
        Some((layout, shape)) => Arc::new(MatrixProduct { layout, shape, epilogue }),
        None => Arc::new(ConvProduct { pass, shape, epilogue }),
    }
}

impl Conv {
    fn shape(&self, batch: usize, input: ValueShape) -> Result<ConvShape, crate::gpu::GpuError> {
        ConvShape::new(batch, input.image().unwrap_or_default(), self.channels, &self.options)
    }

    fn bias_gradient(&self, pass: &mut Backward<'_, '_>, name: &str, sums: Operand) {
        let output = pass.output_shape();
        let rows = pass.batch() * output.pixels();
        let kernel = ColumnSums { rows, columns: output.channels(), stride: output.stride() };
        let operands = [sums, pass.param_gradient(BIAS)];
        pass.push(&format!("{name} bias gradient"), Arc::new(kernel), operands);
    }
}

impl Op for Conv {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn canonical_text(&self, params: &[ParamId], _stats: &[StatId]) -> String {
        let number = |place: usize| params.get(place).map_or("none".to_owned(), |ParamId(number)| number.to_string());
        let ConvOptions { kernel, stride, padding, dilation, groups } = self.options;
        let [kernel, stride, padding, dilation] = [kernel, stride, padding, dilation].map(pair);
        format!(
            "conv weight {} bias {} kernel {kernel} stride {stride} padding {padding} dilation {dilation} groups {groups} \
             activation {}",
            number(WEIGHT),
            number(BIAS),
            self.activation
        )
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        let [height, width, in_channels] = inputs.image()?;
        let (groups, channels) = (self.options.groups, self.channels);
        if groups == 0 || !in_channels.is_multiple_of(groups) || !channels.is_multiple_of(groups) {
            let reason = format!("{groups} groups do not divide {in_channels} inputs and {channels} outputs");
            return Err(inputs.refusal(reason));
        }
        let size = self.options.output_size([height, width]).filter(|_| !self.options.dilation.contains(&0));
        let Some([height, width]) = size else {
            let kernel = self.options.kernel;
            return Err(inputs
                .refusal(format!("a kernel of {kernel:?} does not fit, or a stride or dilation is 0 or too large")));
        };
        Ok(ValueShape::Image { channels, height, width })
    }

    fn matrix(&self) -> Option<usize> {
        Some(WEIGHT)
    }

    fn params(&self, inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        let [_, _, in_channels] = inputs.image()?;
        let [height, width] = self.options.kernel;
        let shape = vec![self.channels, in_channels / self.options.groups.max(1), height, width];
        let fan_in = shape[1..].iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        let too_large = || GraphError::TooLarge { operation: inputs.operation.to_owned(), shape: format!("{shape:?}") };
        let init = ParamInit::Uniform { fan_in: fan_in.ok_or_else(too_large)? };
        let weight = ParamSpec { suffix: "weight", shape, role: ParamRole::Weight, init };
        let bias = ParamSpec { suffix: "bias", shape: vec![self.channels], role: ParamRole::Bias, init };
        Ok([weight].into_iter().chain(self.bias.then_some(bias)).collect())
    }

    fn kinks(&self) -> Option<&'static str> {
        activation_kinks(self.activation)
    }

    /// The epilogue that activates adds a bias too.
    fn with_activation(&self, activation: Activation, _differentiated: bool) -> Option<Arc<dyn Op>> {
        let takes = self.bias && self.activation == Activation::Identity;
        takes.then(|| Arc::new(Self { activation, ..*self }) as Arc<dyn Op>)
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let shape = self.shape(pass.batch(), pass.input_shape(0)).map_err(|error| pass.refusal(&error))?;
        let name = pass.name();
        let packed = shape.reads_packed().then(|| pass.elements("packed weights", shape.packed_words()));
        if let Some(packed) = packed {
            pass.prepare("pack", Arc::new(PackWeights(vec![shape])), [pass.param(WEIGHT), packed]);
        }
        let weight = packed.map_or(pass.param(WEIGHT), Operand::read);
        let pre = pre_activation(pass, self.activation);
        let epilogue = if self.bias {
            Epilogue::BiasActivation { activation: self.activation, store_pre: pre.is_some() }
        } else {
            Epilogue::Plain
        };
        let bias = self.bias.then(|| pass.param(BIAS));
        let operands = [pass.input(0), weight, pass.output()].into_iter().chain(bias).chain(pre);
        let operands: Vec<_> = operands.collect();
        pass.push(&format!("{name} forward"), kernel(ConvPass::Forward, shape, epilogue), operands);
        let kept = pre.unwrap_or(pass.output()).slot().filter(|_| self.activation != Activation::Identity);
        Ok(Saved {
            slots: packed.and_then(|packed| packed.slot()).into_iter().collect(),
            activation: kept.map(|slot| (self.activation, slot)),
        })
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let sums = gradient_before_activation(pass);
        let shape = self.shape(pass.batch(), pass.input_shape(0)).map_err(|error| pass.refusal(&error))?;
        let name = pass.name();
        let operands = [sums, pass.input(0), pass.param_gradient(WEIGHT)];
        let product = kernel(ConvPass::WeightGradient, shape, Epilogue::Plain);
        pass.push(&format!("{name} weight gradient"), product, operands);
        if self.bias {
            self.bias_gradient(pass, &name, sums);
        }
        let fused = pass.fusable_activation(0);
        if let Some(gradient) = pass.input_gradient_through(0, fused.is_some()) {
            let weight = if shape.reads_packed() { pass.saved(0)? } else { pass.param(WEIGHT) };
            let operands = [sums, weight, gradient].into_iter().chain(fused.map(|(_, saved)| saved));
            let operands: Vec<_> = operands.collect();
            let product = kernel(ConvPass::DataGradient, shape, gradient_epilogue(fused));
            pass.push(&format!("{name} data gradient"), product, operands);
        }
        Ok(())
    }
}

/// The layer in files.
pub(super) const LAYERS: &[LayerKind] = &[LayerKind {
    name: "conv",
    stem: Some("conv"),
    add: |site, table| {
        let ConvKeys { channels, kernel, stride, padding, dilation, groups, bias } = keys(table)?;
        let [kernel, stride, padding, dilation] = [kernel, stride, padding, dilation].map(Pair::get);
        let options = ConvOptions { kernel, stride, padding, dilation, groups };
        Ok(site.graph.conv(site.input, site.name, channels, options, bias)?)
    },
}];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConvKeys {
    channels: usize,
    kernel: Pair,
    #[serde(default = "Pair::one")]
    stride: Pair,
    #[serde(default = "Pair::zero")]
    padding: Pair,
    #[serde(default = "Pair::one")]
    dilation: Pair,
    #[serde(default = "one")]
    groups: usize,
    #[serde(default = "yes")]
    bias: bool,
}

impl Graph {
    /// Adds a convolution `name` to `channels` output channels, with `name.weight` and, if asked for, `name.bias`.
    ///
    /// # Errors
    /// [`GraphError::Shape`] if the input is no image or the kernel does not fit, [`GraphError::TooLarge`] for sizes past
    /// the kernels, [`GraphError::Name`] for a name taken.
    pub fn conv(
        &mut self,
        input: ValueId,
        name: &str,
        channels: usize,
        options: ConvOptions,
        bias: bool,
    ) -> Result<ValueId, GraphError> {
        let conv = Conv { channels, options, bias, activation: Activation::Identity };
        self.add_op(Arc::new(conv), name, &[input])
    }
}
