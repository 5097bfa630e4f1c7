//! Kernels with their operands: the dispatches of a schedule before any device is involved, and what a kernel has to say of
//! itself so that schedules can place, count, differentiate and bind them.

use std::{any::Any, fmt, ops::Range, sync::Arc};

use crate::{
    gpu::{Buffer, Element, Gpu, GpuError, Launch, Limits, View, Work},
    kernels::{self, AdapterClass},
};

use super::{CutColumns, DataViews, GraphError, Operand, OperandAccess, Places, Record, SlotId, Tensor};

/// A kernel with its operands, in the order that the kernel documents: one dispatch to be, or a few that belong together.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is computed.
    pub kernel: Arc<dyn Kernel>,
    /// From and into what.
    pub operands: Vec<Operand>,
}

impl Call {
    /// The kernel, where it is of this type.
    #[must_use]
    pub fn kernel_as<K: Kernel>(&self) -> Option<&K> {
        let kernel: &dyn Any = &*self.kernel;
        kernel.downcast_ref()
    }

    /// An operand that the call has in this place.
    #[must_use]
    pub fn operand(&self, place: usize) -> Option<&Operand> {
        self.operands.get(place)
    }

    /// Whether it adds to the operand in this place.
    #[must_use]
    pub fn adds(&self, place: usize) -> bool {
        self.operand(place).is_some_and(Operand::adds)
    }

    /// Elements of the operand in this place.
    #[must_use]
    pub fn len(&self, place: usize) -> usize {
        self.operand(place).map_or(0, |operand| operand.len)
    }

    /// Bytes of every operand, each counted once, of one that is added to twice: the least traffic of one dispatch.
    #[must_use]
    pub fn traffic(&self) -> u64 {
        self.operands.iter().map(Operand::traffic).sum()
    }

    /// Which product of a layer it is, with the window of a convolution; `None` for all other calls.
    #[must_use]
    pub fn product(&self) -> Option<String> {
        self.kernel.product()
    }

    /// Does another call's work as well, where its kernel joins that one's; whether it does.
    pub(super) fn joins(&mut self, other: &Self) -> bool {
        let Some(kernel) = self.kernel.joined(&*other.kernel) else { return false };
        self.kernel = kernel;
        self.operands.extend(&other.operands);
        true
    }

    /// The slots it touches.
    pub(super) fn slots(&self) -> impl Iterator<Item = SlotId> + '_ {
        self.operands.iter().filter_map(|operand| operand.tensor.slot())
    }
}

/// A call with a name for messages.
#[derive(Clone, Debug)]
pub struct PlanStep {
    /// Such as `fc1 forward`.
    pub name: String,
    /// The call.
    pub call: Call,
}

/// Where the terms of a tangent go: the first may overwrite, the others add.
#[derive(Clone, Copy, Debug)]
pub struct TangentTarget(Operand);

impl TangentTarget {
    /// The first term as this operand says.
    pub(super) fn new(first: Operand) -> Self {
        Self(first)
    }

    /// The result of the next term.
    pub fn next_term(&mut self) -> Operand {
        let term = self.0;
        self.0.access = OperandAccess::Add;
        term
    }

    /// What lies there, read.
    #[must_use]
    pub fn read(&self) -> Operand {
        self.0.read()
    }
}

/// The pass over a schedule's calls: what a tangent rule of its own pushes its calls on.
pub trait Tangents {
    /// The tangent of a tensor; none where it is 0.
    fn tangent(&self, tensor: Tensor) -> Option<Operand>;

    /// A new tensor of `len` words, written.
    fn words(&mut self, name: &str, len: usize) -> Operand;

    /// Where the tangent of a call's result goes: the first term overwrites unless the call itself adds to what is there.
    fn target(&mut self, result: &Operand) -> TangentTarget;

    /// Pushes a call.
    fn push_call(&mut self, name: &str, call: Call);

    /// Notes a tensor by another one, for the rule of a later call that knows that one alone.
    fn note(&mut self, by: Tensor, noted: Operand);

    /// What was noted by a tensor.
    fn noted(&self, by: Tensor) -> Option<Operand>;
}

impl dyn Tangents + '_ {
    /// The tangent of a call's operand in this place.
    #[must_use]
    pub fn tangent_at(&self, call: &Call, place: usize) -> Option<Operand> {
        self.tangent(call.operand(place)?.tensor)
    }

    /// Pushes a call.
    pub fn push(&mut self, name: &str, kernel: Arc<dyn Kernel>, operands: impl Into<Vec<Operand>>) {
        self.push_call(name, Call { kernel, operands: operands.into() });
    }

    /// As [`Tangents::words`], as the target of several terms.
    pub fn new_target(&mut self, name: &str, len: usize) -> TangentTarget {
        TangentTarget::new(self.words(name, len))
    }

    /// As [`Tangents::target`], for a result that the call overwrites whatever its access says.
    pub fn fresh_target(&mut self, result: &Operand) -> TangentTarget {
        self.target(&Operand { access: OperandAccess::Write, ..*result })
    }

    /// Pushes the call once for each of these operands that has a tangent, in its place.
    ///
    /// # Errors
    /// None: it is a rule like others.
    pub fn linear(&mut self, name: &str, call: &Call, places: &[usize]) -> Result<(), GraphError> {
        let terms: Vec<(usize, Operand)> =
            places.iter().filter_map(|place| Some((*place, self.tangent_at(call, *place)?))).collect();
        if terms.is_empty() {
            return Ok(());
        }
        let results = call.operands.iter().enumerate().filter(|(_, operand)| operand.access.writes());
        let mut targets: Vec<(usize, TangentTarget)> =
            results.map(|(place, result)| (place, self.target(result))).collect();
        for (place, tangent) in terms {
            let mut operands = call.operands.clone();
            operands[place] = tangent;
            for (result, target) in &mut targets {
                operands[*result] = target.next_term();
            }
            self.push(name, call.kernel.clone(), operands);
        }
        Ok(())
    }
}

/// The pass that puts calls in parts which fit bindings: what a kernel asks that has parts.
pub trait Cut {
    /// The parts of `all` columns of an operand that lies in parts; none where it lies whole.
    fn parts(&self, operand: &Operand, all: usize) -> Option<Vec<Range<usize>>>;

    /// Parts as equal as may be of `rows`, of `row_words` each, where all of them are past a binding, and each part is not.
    fn rows(&self, rows: usize, row_words: usize) -> Option<Vec<Range<usize>>>;

    /// Whether any other operand of a call than those in these places lies in parts.
    fn has_others(&self, call: &Call, places: &[usize]) -> bool;

    /// A new tensor of words that the parts share, written.
    fn words(&mut self, name: &str, words: usize) -> Operand;
}

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
    Own(TangentRule<'a>),
    /// No rule: schedules that are differentiated have other calls in its place, or it is refused by its name.
    Refused,
}

/// A tangent rule: of a call, whose own step has this name.
pub type TangentRule<'a> = Box<dyn Fn(&mut dyn Tangents, &str, &Call) -> Result<(), GraphError> + 'a>;

/// What a launch depends on beside the call.
#[derive(Clone, Copy, Debug)]
pub struct LaunchContext<'a> {
    /// The adapter, or one that is only described.
    pub target: kernels::Target,
    /// Where the call's tensors lie, and all others.
    pub places: &'a Places,
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
    /// Where they lie, and all other tensors.
    pub places: &'a Places,
    /// For what a kernel keeps for itself from one of its dispatches to the next.
    pub scratch: &'a Buffer,
    /// The data set.
    pub data: &'a DataViews,
    /// How activations are stored.
    pub element: Element,
}

impl Binding<'_> {
    /// What a launch on this device depends on.
    #[must_use]
    pub fn context(&self) -> LaunchContext<'_> {
        let (target, sample) = (kernels::Target::for_device(self.gpu), self.data.sample);
        LaunchContext { target, places: self.places, sample, element: self.element }
    }

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

/// A product in two: what leaves the parts of its sums as they are, and what adds them up.
#[derive(Clone, Debug)]
pub struct Deferred {
    /// Leaves the parts. Its operands are the product's, the parts in the place of the result.
    pub parts: Arc<dyn Kernel>,
    /// Words of the parts.
    pub words: usize,
    /// Adds them up; operands: parts, result. It joins others of its kind.
    pub sum: Arc<dyn Kernel>,
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

    /// The work of each dispatch on adapters of a class; of one dispatch unless a kernel that has several says what each does.
    fn work(&self, call: &Call, _class: AdapterClass) -> Vec<Work> {
        vec![Work { flops: self.flops(call), bytes: call.traffic() }]
    }

    /// Fails where a test on the device finds that a call computes wrong and its operation has to take another
    /// [form](super::Op::ordinary). A kernel that has another variant in its place finds out when it is bound.
    ///
    /// # Errors
    /// [`GpuError::Refused`] with the reason.
    fn admit(&self, _call: &Call, _gpu: &Gpu) -> Result<(), GpuError> {
        Ok(())
    }

    /// Words that it keeps for itself from one of its dispatches to the next on adapters of a class.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for sizes past 2^32 elements.
    fn scratch_words(&self, _class: AdapterClass, _element: Element) -> Result<usize, GpuError> {
        Ok(0)
    }

    /// The kernel that does this one's work and another's in one call, whose operands are this one's and then the other's; none
    /// where there is no such kernel.
    fn joined(&self, _other: &dyn Kernel) -> Option<Arc<dyn Kernel>> {
        None
    }

    /// The kernel in two, where on adapters of a class its result is the sum of parts that can wait.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for sizes past 2^32 elements.
    fn deferred(&self, _class: AdapterClass, _element: Element) -> Result<Option<Deferred>, GpuError> {
        Ok(None)
    }

    /// The columns by which an operand [rows, columns] has to be cut so that the call's tensors fit bindings; none where they fit
    /// whole, or cannot be cut so.
    fn columns(&self, _call: &Call, _limits: Limits) -> Option<CutColumns> {
        None
    }

    /// The call in parts that bind no more than they may, in order; none where it has no such parts.
    fn cut(&self, _call: &Call, _cut: &mut dyn Cut) -> Option<Vec<Call>> {
        None
    }

    /// What it launches, in order.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid, [`GpuError::Shape`] for sizes past 2^32 elements.
    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError>;

    /// The call on a device.
    ///
    /// # Errors
    /// Those of the device, [`GpuError::Length`] for operands of other lengths.
    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError>;
}
