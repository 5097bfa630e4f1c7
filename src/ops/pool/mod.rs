//! 2-d pools: the largest or the mean of each window.

mod kernels;
mod windows;

use std::sync::Arc;

use serde::Deserialize;

use crate::{
    gpu::{GpuError, Launch},
    graph::{
        Backward, Binding, Call, Forward, Graph, GraphError, Inputs, Kernel, LaunchContext, Op, ParamId, ParamSpec,
        Record, Saved, StatId, Tangent, ValueId, ValueShape,
    },
    kernels::Activation,
};

use super::{
    layer::{LayerKind, NoKeys, Pair, keys, yes},
    pair,
};

pub(super) use kernels::SPECS;
pub use kernels::{PoolShape, pool, pool_gradient, pool_select};
pub use windows::Pool;

/// output = pool of the input; operands: input, output, and of a max pool where it found its values.
#[derive(Clone, Copy, Debug)]
pub struct PoolForward {
    /// Kind and windows.
    pub pool: Pool,
    /// Every size.
    pub shape: PoolShape,
}

impl Kernel for PoolForward {
    fn kind(&self) -> &'static str {
        "pool"
    }

    fn sizes(&self) -> String {
        format!("{:?}", self.pool)
    }

    /// A mean is linear; of a maximum the tangent is that of the element chosen.
    fn tangent(&self) -> Tangent<'_> {
        if !self.pool.chooses() {
            return Tangent::Linear(0);
        }
        Tangent::Own(Box::new(|pass, name, call| {
            let (Some(output), Some(chosen)) = (call.operand(1), call.operand(2)) else {
                return Err(GraphError::no_derivative(name));
            };
            if let Some(tangent) = pass.tangent_at(call, 0) {
                let result = pass.target(output).next_term();
                pass.push(name, Arc::new(PoolSelect(*self)), [tangent, result, chosen.read()]);
            }
            Ok(())
        }))
    }

    fn flops(&self, call: &Call) -> u64 {
        call.len(0) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.shape.pool_launch(&context.target, &self.pool, call.adds(1))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let (views, chosen) = ([binding.view(0)?, binding.view(1)?], binding.views.get(2));
        Ok(Box::new(pool(binding.gpu, &self.pool, &self.shape, views, chosen, call.adds(1))?))
    }
}

/// What a max pool chose, of another tensor; operands: input, output, chosen.
#[derive(Clone, Copy, Debug)]
struct PoolSelect(PoolForward);

impl Kernel for PoolSelect {
    fn kind(&self) -> &'static str {
        "pool"
    }

    fn sizes(&self) -> String {
        self.0.sizes()
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Linear(0)
    }

    fn flops(&self, _call: &Call) -> u64 {
        0
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.0.shape.select_launch(&context.target, call.adds(1))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let views = [binding.view(0)?, binding.view(1)?];
        Ok(Box::new(pool_select(binding.gpu, &self.0.shape, views, binding.view(2)?, call.adds(1))?))
    }
}

/// A pool's backward, with the derivative of an activation by what it saved of the pool's input; operands: gradient of the
/// output, of the input, then of a max pool what was chosen, then what the activation saved.
#[derive(Clone, Copy, Debug)]
pub struct PoolBackward {
    /// What forward did.
    pub forward: PoolForward,
    /// The activation before the pool whose derivative goes in.
    pub activation: Activation,
}

impl PoolBackward {
    fn activates(&self) -> bool {
        self.activation != Activation::Identity
    }
}

impl Kernel for PoolBackward {
    fn kind(&self) -> &'static str {
        "pool gradient"
    }

    fn sizes(&self) -> String {
        self.forward.sizes()
    }

    /// A backward that is differentiated takes no activation along.
    fn tangent(&self) -> Tangent<'_> {
        if self.activates() { Tangent::Refused } else { Tangent::Linear(0) }
    }

    fn flops(&self, call: &Call) -> u64 {
        (1 + u64::from(self.activates())) * call.len(1) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let PoolForward { pool, shape } = &self.forward;
        Ok(vec![shape.gradient_launch(&context.target, pool, self.activation, call.adds(1))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let PoolForward { pool, shape } = &self.forward;
        let views = [binding.view(0)?, binding.view(1)?];
        let chosen = if pool.chooses() { Some(binding.view(2)?) } else { None };
        let saved_place = 2 + usize::from(pool.chooses());
        let saved = if self.activates() { Some((self.activation, binding.view(saved_place)?)) } else { None };
        Ok(Box::new(pool_gradient(binding.gpu, pool, shape, views, chosen, saved, call.adds(1))?))
    }
}

impl Op for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn canonical_text(&self, _params: &[ParamId], _stats: &[StatId]) -> String {
        match *self {
            Self::Max { kernel, stride, padding } => {
                let [kernel, stride, padding] = [kernel, stride, padding].map(pair);
                format!("max-pool kernel {kernel} stride {stride} padding {padding}")
            }
            Self::Average { kernel, stride, padding, count_padding } => {
                let [kernel, stride, padding] = [kernel, stride, padding].map(pair);
                format!("average-pool kernel {kernel} stride {stride} padding {padding} count-padding {count_padding}")
            }
            Self::AdaptiveAverage { output } => format!("adaptive-average-pool output {}", pair(output)),
        }
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        let [height, width, channels] = inputs.image()?;
        let Some([height, width]) = self.output_size([height, width]) else {
            return Err(inputs.refusal(format!("{self:?} does not fit, or pads more than half a window")));
        };
        Ok(ValueShape::Image { channels, height, width })
    }

    fn params(&self, _inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(Vec::new())
    }

    fn kinks(&self) -> Option<&'static str> {
        self.chooses().then_some("max pools")
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let image = pass.input_shape(0).image().unwrap_or_default();
        let shape = PoolShape::new(pass.batch(), image, self).map_err(|error| pass.refusal(&error))?;
        let words = pass.batch() * pass.output_shape().words();
        let chosen = self.chooses().then(|| pass.words("chosen", words));
        let operands = [pass.input(0), pass.output()].into_iter().chain(chosen);
        let operands: Vec<_> = operands.collect();
        pass.push("pool forward", Arc::new(PoolForward { pool: *self, shape }), operands);
        Ok(Saved::tensors(chosen))
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let image = pass.input_shape(0).image().unwrap_or_default();
        let shape = PoolShape::new(pass.batch(), image, self).map_err(|error| pass.refusal(&error))?;
        let chosen = if self.chooses() { Some(pass.saved(0)?) } else { None };
        let fused = pass.fusable_activation(0);
        if let Some(result) = pass.input_gradient_through(0, fused.is_some()) {
            let activation = fused.map_or(Activation::Identity, |(activation, _)| activation);
            let kernel = PoolBackward { forward: PoolForward { pool: *self, shape }, activation };
            let operands = [pass.gradient(), result].into_iter().chain(chosen).chain(fused.map(|(_, saved)| saved));
            let operands: Vec<_> = operands.collect();
            pass.push("pool backward", Arc::new(kernel), operands);
        }
        Ok(())
    }
}

/// The layers in files.
pub(super) const LAYERS: &[LayerKind] = &[
    LayerKind {
        name: "max-pool",
        stem: None,
        add: |site, table| {
            let MaxPoolKeys { kernel, stride, padding } = keys(table)?;
            let (stride, padding) = (stride.unwrap_or(kernel).get(), padding.get());
            Ok(site.graph.pool(site.input, Pool::Max { kernel: kernel.get(), stride, padding })?)
        },
    },
    LayerKind {
        name: "average-pool",
        stem: None,
        add: |site, table| {
            let AveragePoolKeys { kernel, stride, padding, count_padding } = keys(table)?;
            let (stride, padding) = (stride.unwrap_or(kernel).get(), padding.get());
            Ok(site.graph.pool(site.input, Pool::Average { kernel: kernel.get(), stride, padding, count_padding })?)
        },
    },
    LayerKind {
        name: "adaptive-average-pool",
        stem: None,
        add: |site, table| {
            let AdaptivePoolKeys { size } = keys(table)?;
            Ok(site.graph.pool(site.input, Pool::AdaptiveAverage { output: size.get() })?)
        },
    },
    LayerKind {
        name: "global-average-pool",
        stem: None,
        add: |site, table| {
            let NoKeys {} = keys(table)?;
            Ok(site.graph.pool(site.input, Pool::global())?)
        },
    },
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MaxPoolKeys {
    kernel: Pair,
    /// The kernel if left out.
    stride: Option<Pair>,
    #[serde(default = "Pair::zero")]
    padding: Pair,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AveragePoolKeys {
    kernel: Pair,
    /// The kernel if left out.
    stride: Option<Pair>,
    #[serde(default = "Pair::zero")]
    padding: Pair,
    #[serde(default = "yes")]
    count_padding: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdaptivePoolKeys {
    size: Pair,
}

impl Graph {
    /// Adds a pool.
    ///
    /// # Errors
    /// [`GraphError::Shape`] if the input is no image or the windows do not fit, [`GraphError::TooLarge`] for sizes past
    /// the kernels.
    pub fn pool(&mut self, input: ValueId, pool: Pool) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(pool), "", &[input])
    }
}
