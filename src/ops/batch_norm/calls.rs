//! Batch norm by the batch's statistics, or by the running ones where nothing is differentiated, as calls.

use crate::{
    gpu::{Dispatch, GpuError, Launch, Recorder, Work},
    graph::{BatchInfo, Binding, Call, Kernel, LaunchContext, Operand, Record, Tangent},
    kernels::{Activation, AdapterClass, Lanes},
};

use super::{
    forward::{BatchNormDispatches, BatchNormViews},
    gradient::{BatchNormGradientDispatches, BatchNormGradientViews},
    launches::{BatchNormAdds, Undone},
    shape::{BatchNormShape, BatchNormVariant},
};

/// A batch norm; operands: input, weight, bias, running mean, running variance, table, output, then the residual where there
/// is one, then where the batch's statistics count the sums of its chunks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormForward {
    /// Samples, pixels, channels.
    pub shape: BatchNormShape,
    /// Added to the variance.
    pub eps: f32,
    /// Applied last.
    pub activation: Activation,
    /// Whether a second input is added before the activation.
    pub residual: bool,
    /// Whether the batch's statistics count, and update the running ones.
    pub by_batch: bool,
}

impl BatchNormForward {
    const TABLE: usize = 5;
    const OUTPUT: usize = 6;
    const RESIDUAL: usize = 7;

    fn partials_place(&self) -> usize {
        Self::RESIDUAL + usize::from(self.residual)
    }
}

fn bytes<'a>(operands: impl IntoIterator<Item = Option<&'a Operand>>) -> u64 {
    operands.into_iter().flatten().map(Operand::bytes).sum()
}

impl Kernel for BatchNormForward {
    fn kind(&self) -> &'static str {
        "batch norm"
    }

    fn sizes(&self) -> String {
        self.shape.to_string()
    }

    /// Schedules that are differentiated have it taken apart.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, call: &Call) -> u64 {
        self.work(call, AdapterClass::Software(Lanes::Eight)).iter().map(|work| work.flops).sum()
    }

    /// Sums of chunks where the batch's statistics count, the table, and the sweep that normalises, alone or with the table's work
    /// in it.
    fn work(&self, call: &Call, class: AdapterClass) -> Vec<Work> {
        let (elements, at) = (call.len(0) as u64, |place| call.operand(place));
        let partials = if self.by_batch { at(self.partials_place()) } else { None };
        let residual = if self.residual { at(Self::RESIDUAL) } else { None };
        // Difference from a first row, its sum, its square, their sum; a chunk's likewise.
        let moments = partials.map(|_| Work { flops: 4 * elements, bytes: bytes([at(0), partials]) });
        let statistics = if self.by_batch { [partials, None] } else { [at(3), at(4)] };
        let finish = Work {
            flops: 4 * partials.map_or(0, |partials| partials.len as u64),
            bytes: bytes(statistics) + bytes([at(Self::TABLE)]),
        };
        let active = u64::from(self.activation != Activation::Identity);
        let sweep = Work {
            flops: (3 + u64::from(self.residual) + active) * elements,
            bytes: bytes([at(0), at(Self::TABLE), at(Self::OUTPUT), residual]),
        };
        let sweeps = if BatchNormVariant::for_class(class).combines_in_sweep() {
            let both = Work { flops: finish.flops + sweep.flops, bytes: bytes(statistics) + sweep.bytes };
            vec![both]
        } else {
            vec![finish, sweep]
        };
        moments.into_iter().chain(sweeps).collect()
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let (target, variant) = (&context.target, BatchNormVariant::for_class(context.target.class));
        let launches = self.shape.forward_launches(target, variant, self.by_batch, self.activation, self.residual)?;
        Ok(launches.into_vec())
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let partials = if self.by_batch { Some(binding.view(self.partials_place())?) } else { None };
        let views = BatchNormViews {
            x: binding.view(0)?,
            residual: if self.residual { Some(binding.view(Self::RESIDUAL)?) } else { None },
            weight: binding.view(1)?,
            bias: binding.view(2)?,
            running_mean: binding.view(3)?,
            running_var: binding.view(4)?,
            partials,
            table: binding.view(Self::TABLE)?,
            y: binding.view(Self::OUTPUT)?,
        };
        let variant = BatchNormVariant::for_class(AdapterClass::for_device(binding.gpu));
        let norm = BatchNormDispatches::new(binding.gpu, variant, self.shape, &views, self.activation, self.eps)?;
        Ok(Box::new(norm))
    }
}

/// The backward of a batch norm by the batch's statistics; operands: gradient of the output, input, table, partial sums,
/// coefficients, gradients of weight, bias and input, then that of the residual where there is one, then the output where the
/// activation is undone by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormBackward {
    /// Samples, pixels, channels.
    pub shape: BatchNormShape,
    /// Undone first.
    pub undone: Undone,
    /// Whether the residual's gradient is made too.
    pub residual: bool,
}

impl BatchNormBackward {
    const PARTIALS: usize = 3;
    const COEFFICIENTS: usize = 4;
    const GRAD_WEIGHT: usize = 5;
    const GRAD_BIAS: usize = 6;
    /// Place of the input's gradient.
    pub const GRAD_INPUT: usize = 7;
    /// Place of the residual's gradient, where there is one.
    pub const GRAD_RESIDUAL: usize = 8;

    fn saved_place(&self) -> usize {
        Self::GRAD_RESIDUAL + usize::from(self.residual)
    }

    fn residual_adds(&self, call: &Call) -> Option<bool> {
        self.residual.then(|| call.adds(Self::GRAD_RESIDUAL))
    }
}

impl Kernel for BatchNormBackward {
    fn kind(&self) -> &'static str {
        "batch norm gradient"
    }

    fn sizes(&self) -> String {
        self.shape.to_string()
    }

    /// As of [`BatchNormForward`].
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, call: &Call) -> u64 {
        self.work(call, AdapterClass::Software(Lanes::Eight)).iter().map(|work| work.flops).sum()
    }

    fn work(&self, call: &Call, class: AdapterClass) -> Vec<Work> {
        let (elements, at) = (call.len(1) as u64, |place| call.operand(place));
        let combines = BatchNormVariant::for_class(class).combines_in_sweep();
        let saved = if self.undone.by_output { at(self.saved_place()) } else { None };
        let partials = at(Self::PARTIALS);
        let input = at(Self::GRAD_INPUT);
        let residual = if self.residual { at(Self::GRAD_RESIDUAL) } else { None };
        // A gradient that is added to is read as well.
        let result = |result: Option<&Operand>| bytes([result, result.filter(|result| result.adds())]);
        let added = |result: Option<&Operand>| u64::from(result.is_some_and(Operand::adds));

        let active = 2 * u64::from(self.undone.activation != Activation::Identity);
        let read = bytes([at(0), at(1), at(2), saved]);
        let mut moments = Work { flops: (4 + active) * elements, bytes: read + bytes([partials]) };
        let combined = 4 * partials.map_or(0, |partials| partials.len as u64);
        if combines {
            moments.bytes += result(residual);
            moments.flops += added(residual) * elements;
            let is_in_residual = self.undone.is_in_residual(self.residual_adds(call));
            let (active, read) = if is_in_residual { (0, bytes([residual, at(1), at(2)])) } else { (active, read) };
            let sweep = Work {
                flops: combined + (5 + active + added(input)) * elements,
                bytes: read + bytes([partials]) + result(input),
            };
            return vec![moments, sweep];
        }
        let finish = Work { flops: combined, bytes: bytes([partials, at(2), at(Self::COEFFICIENTS)]) };
        let sweep = Work {
            flops: (5 + active + added(input) + added(residual)) * elements,
            bytes: read + bytes([at(Self::COEFFICIENTS)]) + result(input) + result(residual),
        };
        vec![moments, finish, sweep]
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let adds = BatchNormAdds {
            input: call.adds(Self::GRAD_INPUT),
            residual: self.residual_adds(call),
            params: call.adds(Self::GRAD_WEIGHT),
        };
        let variant = BatchNormVariant::for_class(context.target.class);
        Ok(self.shape.gradient_launches(&context.target, variant, self.undone, adds)?.into_vec())
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let residual = if self.residual { Some(binding.view(Self::GRAD_RESIDUAL)?) } else { None };
        let views = BatchNormGradientViews {
            grad: binding.view(0)?,
            saved: if self.undone.by_output { Some(binding.view(self.saved_place())?) } else { None },
            x: binding.view(1)?,
            table: binding.view(2)?,
            partials: binding.view(Self::PARTIALS)?,
            coefficients: binding.view(Self::COEFFICIENTS)?,
            grad_weight: binding.view(Self::GRAD_WEIGHT)?,
            grad_bias: binding.view(Self::GRAD_BIAS)?,
            grad_x: (binding.view(Self::GRAD_INPUT)?, call.adds(Self::GRAD_INPUT)),
            grad_residual: residual.zip(self.residual_adds(call)),
        };
        let (variant, accumulate) =
            (BatchNormVariant::for_class(AdapterClass::for_device(binding.gpu)), call.adds(Self::GRAD_WEIGHT));
        let norm = BatchNormGradientDispatches::new(binding.gpu, variant, self.shape, &views, self.undone, accumulate)?;
        Ok(Box::new(norm))
    }
}

impl Record for BatchNormDispatches {
    fn dispatches(&self) -> Vec<&Dispatch> {
        Self::dispatches(self).collect()
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.valid, batch.stats_momentum);
    }
}

impl Record for BatchNormGradientDispatches {
    fn dispatches(&self) -> Vec<&Dispatch> {
        Self::dispatches(self).collect()
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.valid);
    }
}
