//! Where the tensors of a schedule lie: what kernels that bind several tensors at once go by before any device is involved.

use crate::{
    gpu::Element,
    kernels::{ArenaLayout, Place},
};

use super::{DataTensor, Operand, SlotId, Tensor, memory::Placement};

/// Where each tensor lies.
#[derive(Clone, Debug)]
pub struct Places {
    pub(super) placement: Placement,
    params: ArenaLayout,
    stats: ArenaLayout,
}

/// The buffers beside the banks of the activation arena, which are numbered from here on.
const FIRST_BANK: usize = 12;

impl Places {
    /// Of slots placed so, and of parameters and running statistics of these lengths.
    pub(super) fn new(placement: Placement, param_lens: &[usize], stat_lens: &[usize]) -> Self {
        let layout = |lens: &[usize]| {
            let shapes: Vec<[usize; 1]> = lens.iter().map(|len| [*len]).collect();
            ArenaLayout::new(shapes.iter().map(<[usize; 1]>::as_slice))
        };
        Self { placement, params: layout(param_lens), stats: layout(stat_lens) }
    }

    /// Where an operand lies; of the data set only which buffer is known.
    #[must_use]
    pub fn place(&self, operand: &Operand) -> Place {
        let (buffer, start) = match operand.tensor {
            Tensor::Slot(SlotId(slot)) => {
                let (bank, start) = self.placement.place_of(slot);
                (FIRST_BANK + bank, start)
            }
            Tensor::Weight(param) => (0, self.param(param.0, operand.element)),
            Tensor::Grad(param) => (1, self.param(param.0, Element::Word)),
            Tensor::Direction(param) => (2, self.param(param.0, Element::Word)),
            Tensor::Product(param) => (3, self.param(param.0, Element::Word)),
            Tensor::Stat(stat) => (4, self.stats.spans().get(stat.0).map_or(0, |span| span.start)),
            Tensor::Metrics => (5, 0),
            Tensor::Scaling => (6, 0),
            Tensor::Data(DataTensor::Samples) => (7, 0),
            Tensor::Data(DataTensor::Targets) => (8, 0),
            Tensor::Data(DataTensor::Indices) => (9, 0),
            Tensor::Data(DataTensor::Ids) => (10, 0),
            Tensor::Data(DataTensor::Normalisation) => (11, 0),
        };
        let start = start + operand.element.words(operand.start);
        Place { buffer, words: start..start + operand.element.words(operand.len) }
    }

    /// First word of a parameter in an arena whose elements are stored so.
    fn param(&self, param: usize, element: Element) -> usize {
        self.params.spans().get(param).map_or(0, |span| element.words(span.start))
    }
}
