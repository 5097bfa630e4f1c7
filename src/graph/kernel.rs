//! What a kernel has to say of itself so that schedules can place, count, differentiate and bind its calls.

use std::{any::Any, fmt, sync::Arc};

use crate::{
    gpu::{Buffer, Dispatch, Element, Gpu, GpuError, Launch, Recorder, View, Work},
    kernels::{AdapterClass, BatchNorm, BatchNormGradient, Dropout, Gather, LossKernel, MetricsSum, Target},
};

use super::{BatchInfo, Call, DataViews, GraphError, tangent::TangentPass};

/// How the derivative of a call's results along a direction in weight space comes about.
pub enum Tangent<'a> {
    /// Nothing that it reads depends on the weights.
    Constant,
    /// Its results are linear in the operand in this place: the call itself, of that operand's tangent.
    Linear(usize),
    /// Linear in each of two operands: the call with one of them replaced by its tangent, then with the other.
    Bilinear([usize; 2]),
    /// The loss: operand 0 is the model's output, 1 the gradient. The kernel makes the gradient's tangent (operand 2) from the
    /// output (0) and the output's tangent (1).
    Loss(Arc<dyn Kernel>),
    /// A rule of its own, which pushes whatever calls it takes.
    Own(Rule<'a>),
    /// No rule: schedules that are differentiated have other calls in its place, or it is refused by its name.
    Refused,
}

/// A tangent rule: of a call, whose own step has this name.
pub type Rule<'a> = Box<dyn Fn(&mut TangentPass<'_>, &str, &Call) -> Result<(), GraphError> + 'a>;

/// What a launch depends on beside the call.
#[derive(Clone, Copy, Debug)]
pub struct LaunchContext<'a> {
    /// The adapter, or one that is only described.
    pub target: &'a Target,
    /// Channels, height and width of a sample of the data set.
    pub sample: [usize; 3],
    /// How activations are stored.
    pub element: Element,
}

/// What a call is bound with.
#[derive(Debug)]
pub struct Binding<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// Its operands' views, in their order.
    pub views: Vec<View>,
    /// For what a kernel keeps for itself from one of its dispatches to the next.
    pub scratch: &'a Buffer,
    /// The data set.
    pub data: &'a DataViews,
    /// How activations are stored.
    pub element: Element,
}

impl Binding<'_> {
    /// The first `words` of the scratch.
    ///
    /// # Errors
    /// [`GpuError::Length`] where it is smaller than [`Kernel::scratch_words`] said.
    pub fn scratch(&self, words: usize) -> Result<View, GpuError> {
        self.scratch.part(0, words)
    }

    /// The view of the operand in this place.
    ///
    /// # Errors
    /// [`GpuError::Length`] for a call without it.
    pub fn view(&self, place: usize) -> Result<&View, GpuError> {
        let missing =
            GpuError::Length { kernel: "plan", argument: "operands", expected: place + 1, found: self.views.len() };
        self.views.get(place).ok_or(missing)
    }

    /// The view of the operand in this place, or one that is bound and not read.
    ///
    /// # Errors
    /// As [`Gpu::unused`].
    pub fn view_or_unused(&self, place: usize) -> Result<View, GpuError> {
        self.views.get(place).map_or_else(|| self.gpu.unused(0), |view| Ok(view.clone()))
    }
}

/// A computation that calls are made of: plain data, without a device.
///
/// Whether a result adds to what is there is said by the operand's access, never by the kernel.
pub trait Kernel: Any + fmt::Debug + Send + Sync {
    /// Its kind, for the plan: `convolution`.
    fn kind(&self) -> &'static str;

    /// Its sizes, for the plan.
    fn sizes(&self) -> String;

    /// How its results' tangents come about.
    fn tangent(&self) -> Tangent<'_>;

    /// Floating-point operations of a call.
    fn flops(&self, call: &Call) -> u64;

    /// Which product of a layer it is, with the window of a convolution; `None` for all other kernels.
    fn product(&self) -> Option<String> {
        None
    }

    /// The work of each dispatch; of one dispatch unless a kernel that has several says what each does.
    fn work(&self, call: &Call) -> Vec<Work> {
        vec![Work { flops: self.flops(call), bytes: call.traffic() }]
    }

    /// Words that it keeps for itself from one of its dispatches to the next on adapters of a class.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for sizes past 2^32 elements.
    fn scratch_words(&self, _class: AdapterClass, _element: Element) -> Result<usize, GpuError> {
        Ok(0)
    }

    /// What it launches, in order.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid, [`GpuError::Shape`] for sizes past 2^32 elements.
    fn launches(&self, call: &Call, context: &LaunchContext<'_>) -> Result<Vec<Launch>, GpuError>;

    /// The call on a device.
    ///
    /// # Errors
    /// Those of the device, [`GpuError::Length`] for operands of other lengths.
    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError>;
}

/// A call bound to its views: what a step records.
pub trait Record: fmt::Debug + Send + Sync {
    /// Its dispatches in their order.
    fn dispatches(&self) -> Vec<&Dispatch>;

    /// Records it for a batch.
    fn record(&self, recorder: &mut Recorder<'_>, _batch: &BatchInfo) {
        self.dispatches().into_iter().for_each(|dispatch| recorder.run(dispatch));
    }
}

impl Record for Dispatch {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![self]
    }
}

impl Record for Vec<Dispatch> {
    fn dispatches(&self) -> Vec<&Dispatch> {
        self.iter().collect()
    }

    fn record(&self, recorder: &mut Recorder<'_>, _batch: &BatchInfo) {
        self.iter().for_each(|dispatch| recorder.run(dispatch));
    }
}

impl Record for Gather {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![self.dispatch()]
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.first, batch.valid, batch.epoch);
    }
}

impl Record for LossKernel {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![self.dispatch()]
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.first, batch.valid, batch.terms);
    }
}

impl Record for MetricsSum {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![self.dispatch()]
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.slot, batch.slot_adds);
    }
}

impl Record for BatchNorm {
    fn dispatches(&self) -> Vec<&Dispatch> {
        Self::dispatches(self).collect()
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.valid, batch.stats_momentum);
    }
}

impl Record for BatchNormGradient {
    fn dispatches(&self) -> Vec<&Dispatch> {
        Self::dispatches(self).collect()
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.valid);
    }
}

impl Record for Dropout {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![self.dispatch()]
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.seed, batch.step);
    }
}
