//! Calls bound to buffers: each becomes what a step records.

use crate::{
    gpu::{Buffer, Gpu, GpuError, View},
    kernels::Arena,
};

use super::{Binding, Call, DataTensor, DataViews, Operand, Places, Record, Schedule, SlotId, Tensor};

/// What a product with the Hessian reads and writes, laid out as the weights.
#[derive(Clone, Debug)]
pub struct TangentArenas {
    /// The direction.
    pub direction: Buffer,
    /// The product.
    pub product: Buffer,
}

pub(super) struct Binder<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) schedule: &'a Schedule,
    pub(super) places: Places,
    /// The activation arena, as many buffers as the adapter's limit makes it.
    pub(super) banks: Vec<Buffer>,
    /// For what kernels keep for themselves, one after the other.
    pub(super) scratch: Buffer,
    pub(super) arena: &'a Arena,
    pub(super) tangents: Option<&'a TangentArenas>,
    pub(super) data: &'a DataViews,
    pub(super) metrics: &'a View,
}

impl Binder<'_> {
    pub(super) fn slot(&self, SlotId(slot): SlotId) -> Result<View, GpuError> {
        let (bank, offset) = self.places.placement.place_of(slot);
        let placed = &self.schedule.slots[slot];
        self.banks[bank].part(offset, placed.words())?.read_as(placed.element, placed.len)
    }

    fn tangents(&self) -> Result<&TangentArenas, GpuError> {
        let missing = GpuError::Length { kernel: "plan", argument: "tangent arenas", expected: 2, found: 0 };
        self.tangents.ok_or(missing)
    }

    fn view(&self, tensor: Tensor) -> Result<View, GpuError> {
        match tensor {
            Tensor::Slot(slot) => self.slot(slot),
            Tensor::Weight(param) => self.arena.effective(param.0),
            Tensor::Grad(param) => self.arena.tensor(&self.arena.grads, param.0),
            Tensor::Direction(param) => self.arena.tensor(&self.tangents()?.direction, param.0),
            Tensor::Product(param) => self.arena.tensor(&self.tangents()?.product, param.0),
            Tensor::Stat(stat) => self.arena.stat(stat.0),
            Tensor::Data(tensor) => Ok(self.data_view(tensor).clone()),
            Tensor::Metrics => Ok(self.metrics.clone()),
            Tensor::Scaling => Ok(self.arena.scaling.view()),
        }
    }

    /// What a call touches of a tensor.
    fn operand(&self, operand: &Operand) -> Result<View, GpuError> {
        let whole = self.view(operand.tensor)?;
        // Of tensors whose length no schedule knows, all.
        if operand.len == 0 { Ok(whole) } else { whole.elements(operand.start, operand.len) }
    }

    fn data_view(&self, tensor: DataTensor) -> &View {
        match tensor {
            DataTensor::Samples => &self.data.samples,
            DataTensor::Targets => &self.data.targets,
            DataTensor::Indices => &self.data.indices,
            DataTensor::Ids => &self.data.ids,
            DataTensor::Normalisation => &self.data.normalisation,
        }
    }

    /// The call as a step records it.
    pub(super) fn bind(&self, call: &Call) -> Result<Box<dyn Record>, GpuError> {
        let views = call.operands.iter().map(|operand| self.operand(operand)).collect::<Result<_, _>>()?;
        let Self { gpu, places, scratch, data, .. } = self;
        call.kernel.bind(call, &Binding { gpu, views, places, scratch, data, element: self.schedule.element })
    }
}
