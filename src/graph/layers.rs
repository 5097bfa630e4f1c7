//! Adding operations to a graph, with shape inference.

use crate::kernels::{Activation, ConvOptions, Pool};

use super::{
    Graph, GraphError, ParamId, ParamInit, ParamRole, ValueId, ValueShape,
    op::{BatchNormOp, NormOp, Op, Param, Stat, StatId},
};

/// Batch norm's and the other norms' default in PyTorch.
const EPS: f32 = 1e-5;

impl Graph {
    fn param(
        &mut self,
        name: String,
        shape: Vec<usize>,
        role: ParamRole,
        init: ParamInit,
    ) -> Result<ParamId, GraphError> {
        if self.params.iter().any(|other| other.name == name) {
            return Err(GraphError::Name { name });
        }
        let len = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        if len.is_none_or(|len| u32::try_from(len).is_err()) {
            return Err(GraphError::TooLarge { operation: name, shape: format!("{shape:?}") });
        }
        self.params.push(Param { name, shape, module: self.modules, role, init });
        Ok(ParamId(self.params.len() - 1))
    }

    fn stat(&mut self, name: String, channels: usize, initial: f32) -> StatId {
        self.stats.push(Stat { name, channels, initial });
        StatId(self.stats.len() - 1)
    }

    fn image(&self, operation: &str, value: ValueId) -> Result<[usize; 3], GraphError> {
        let shape = self.shape(value);
        shape.image().ok_or_else(|| GraphError::Shape {
            operation: operation.to_owned(),
            input: shape.to_string(),
            reason: "it needs an image".to_owned(),
        })
    }

    /// Adds a linear layer `name` with parameters `name.weight` and `name.bias`.
    ///
    /// # Errors
    /// [`GraphError::Empty`] for a width of 0, [`GraphError::TooLarge`] for one past the kernels, [`GraphError::Name`] for a name
    /// taken, [`GraphError::Shape`] for an image.
    pub fn linear(
        &mut self,
        input: ValueId,
        name: &str,
        out_features: usize,
        activation: Activation,
    ) -> Result<ValueId, GraphError> {
        let operation = format!("linear {name}");
        let ValueShape::Features(fan_in) = self.shape(input) else {
            let input = self.shape(input).to_string();
            return Err(GraphError::Shape { operation, input, reason: "flatten it first".to_owned() });
        };
        let output = self.value(&operation, ValueShape::Features(out_features))?;
        let init = ParamInit::Uniform { fan_in };
        let weight = self.param(format!("{name}.weight"), vec![out_features, fan_in], ParamRole::Weight, init)?;
        let bias = self.param(format!("{name}.bias"), vec![out_features], ParamRole::Bias, init)?;
        self.modules += 1;
        Ok(self.node(Op::Linear { weight, bias, activation }, vec![input], output))
    }

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
        let operation = format!("conv {name}");
        let [height, width, in_channels] = self.image(&operation, input)?;
        let wrong = |reason: &str| GraphError::Shape {
            operation: operation.clone(),
            input: ValueShape::Image { channels: in_channels, height, width }.to_string(),
            reason: reason.to_owned(),
        };
        let groups = options.groups;
        if groups == 0 || !in_channels.is_multiple_of(groups) || !channels.is_multiple_of(groups) {
            return Err(wrong(&format!("{groups} groups do not divide {in_channels} inputs and {channels} outputs")));
        }
        let size = options.output_size([height, width]).filter(|_| !options.dilation.contains(&0));
        let Some([height, width]) = size else {
            return Err(wrong(&format!(
                "a kernel of {:?} does not fit, or a stride or dilation is 0 or too large",
                options.kernel
            )));
        };
        let output = self.value(&operation, ValueShape::Image { channels, height, width })?;
        let [kernel_height, kernel_width] = options.kernel;
        let shape = vec![channels, in_channels / groups, kernel_height, kernel_width];
        let fan_in = shape[1..].iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        let Some(fan_in) = fan_in else {
            return Err(GraphError::TooLarge { operation, shape: format!("{shape:?}") });
        };
        let init = ParamInit::Uniform { fan_in };
        let weight = self.param(format!("{name}.weight"), shape, ParamRole::Weight, init)?;
        let bias =
            if bias { Some(self.param(format!("{name}.bias"), vec![channels], ParamRole::Bias, init)?) } else { None };
        self.modules += 1;
        Ok(self.node(Op::Conv { weight, bias, options, activation: Activation::Identity }, vec![input], output))
    }

    /// Adds a batch norm `name` over the channels of images or the features of rows.
    ///
    /// # Errors
    /// [`GraphError::Name`] for a name taken.
    pub fn batch_norm(&mut self, input: ValueId, name: &str) -> Result<ValueId, GraphError> {
        let shape = self.shape(input);
        let channels = shape.channels();
        if !shape.stride().is_multiple_of(4) {
            // The kernels read whole vec4s of channels, which rows of such a width do not line up with.
            let pixel = ValueShape::Image { channels, height: 1, width: 1 };
            let output = self.value(&format!("batch norm {name}"), pixel)?;
            let image = self.node(Op::Unflatten, vec![input], output);
            let normalised = self.batch_norm(image, name)?;
            return self.flatten(normalised);
        }
        let output = self.value(&format!("batch norm {name}"), shape)?;
        let [weight, bias] = self.norm_params(name, vec![channels])?;
        let mean = self.stat(format!("{name}.running_mean"), channels, 0.0);
        let running = [mean, self.stat(format!("{name}.running_var"), channels, 1.0)];
        let op = BatchNormOp { weight, bias, running, eps: EPS, activation: Activation::Identity };
        Ok(self.node(Op::BatchNorm(op), vec![input], output))
    }

    fn norm_params(&mut self, name: &str, shape: Vec<usize>) -> Result<[ParamId; 2], GraphError> {
        let one = ParamInit::Constant(1.0);
        let weight = self.param(format!("{name}.weight"), shape.clone(), ParamRole::Scale, one)?;
        let bias = self.param(format!("{name}.bias"), shape, ParamRole::Bias, ParamInit::Constant(0.0))?;
        self.modules += 1;
        Ok([weight, bias])
    }

    /// Adds a group norm `name` over `groups` groups of channels of each sample.
    ///
    /// # Errors
    /// [`GraphError::Name`] for a name taken, [`GraphError::Shape`] if the groups do not divide the channels.
    pub fn group_norm(&mut self, input: ValueId, name: &str, groups: usize) -> Result<ValueId, GraphError> {
        let shape = self.shape(input);
        if groups == 0 || !shape.channels().is_multiple_of(groups) {
            let (operation, input) = (format!("group norm {name}"), shape.to_string());
            return Err(GraphError::Shape { operation, input, reason: format!("{groups} groups do not divide it") });
        }
        let output = self.value(&format!("group norm {name}"), shape)?;
        let [weight, bias] = self.norm_params(name, vec![shape.channels()])?;
        let op = NormOp { weight, bias, groups, per_pixel: false, eps: EPS };
        Ok(self.node(Op::Norm(op), vec![input], output))
    }

    /// Adds a layer norm `name` over all of a sample, whose every element has its weight and bias.
    ///
    /// # Errors
    /// [`GraphError::Name`] for a name taken.
    pub fn layer_norm(&mut self, input: ValueId, name: &str) -> Result<ValueId, GraphError> {
        let shape = self.shape(input);
        let output = self.value(&format!("layer norm {name}"), shape)?;
        let of = match shape {
            ValueShape::Features(features) => vec![features],
            ValueShape::Image { channels, height, width } => vec![channels, height, width],
        };
        let [weight, bias] = self.norm_params(name, of)?;
        let op = NormOp { weight, bias, groups: 1, per_pixel: true, eps: EPS };
        Ok(self.node(Op::Norm(op), vec![input], output))
    }

    /// Adds a pool.
    ///
    /// # Errors
    /// [`GraphError::Shape`] if the input is no image or the windows do not fit, [`GraphError::TooLarge`] for sizes past
    /// the kernels.
    pub fn pool(&mut self, input: ValueId, pool: Pool) -> Result<ValueId, GraphError> {
        let [height, width, channels] = self.image("pool", input)?;
        let Some([out_height, out_width]) = pool.output_size([height, width]) else {
            let reason = format!("{pool:?} does not fit, or pads more than half a window");
            return Err(GraphError::Shape { operation: "pool".into(), input: self.shape(input).to_string(), reason });
        };
        let output = self.value("pool", ValueShape::Image { channels, height: out_height, width: out_width })?;
        Ok(self.node(Op::Pool(pool), vec![input], output))
    }

    /// Adds the flattening of an image to a row, channel first; a row stays what it is.
    ///
    /// # Errors
    /// None in practice: the shape is that of the input.
    pub fn flatten(&mut self, input: ValueId) -> Result<ValueId, GraphError> {
        if self.shape(input).image().is_none() {
            return Ok(input);
        }
        let output = self.value("flatten", ValueShape::Features(self.features(input)))?;
        Ok(self.node(Op::Flatten, vec![input], output))
    }

    /// Adds a dropout.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for a probability outside of [0, 1).
    pub fn dropout(&mut self, input: ValueId, probability: f32) -> Result<ValueId, GraphError> {
        if !(0.0..1.0).contains(&probability) {
            let reason = format!("probability {probability} is not in [0, 1)");
            return Err(GraphError::Shape {
                operation: "dropout".into(),
                input: self.shape(input).to_string(),
                reason,
            });
        }
        let layer = self.nodes.iter().filter(|node| matches!(node.op, Op::Dropout { .. })).count();
        let output = self.value("dropout", self.shape(input))?;
        Ok(self.node(Op::Dropout { probability, layer }, vec![input], output))
    }

    /// Adds an activation. A schedule takes it into the product of the layer before it where nothing else reads that
    /// layer's output; the value activated stays what it was.
    ///
    /// # Errors
    /// None in practice: the shape is that of the input.
    pub fn activate(&mut self, input: ValueId, activation: Activation) -> Result<ValueId, GraphError> {
        let output = self.value("activation", self.shape(input))?;
        Ok(self.node(Op::Activate(activation), vec![input], output))
    }

    /// Adds a sum of two values, a residual connection.
    ///
    /// # Errors
    /// [`GraphError::Features`] if they differ in shape.
    pub fn add(&mut self, left: ValueId, right: ValueId) -> Result<ValueId, GraphError> {
        let (l, r) = (self.shape(left), self.shape(right));
        if l != r {
            let operation = "add".to_owned();
            return Err(GraphError::Features { operation, left: l.to_string(), right: r.to_string() });
        }
        let output = self.value("add", l)?;
        Ok(self.node(Op::Add, vec![left, right], output))
    }
}
