//! Which weights are noisy together: the groups of a model.

use std::ops::Range;

use crate::kernels::ArenaLayout;

use super::Grouping;

/// What the noise has to know of a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoiseTensor {
    /// Number of the module it belongs to.
    pub module: usize,
    /// Number of the block it belongs to, if it does.
    pub block: Option<usize>,
    /// Projections that it packs, each of as many elements as the others; 0 where it packs none.
    pub projections: usize,
    /// A weight proper: neither bias nor normalisation.
    pub is_weight: bool,
}

/// A part of a tensor, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoisePart {
    /// Number of the tensor.
    pub tensor: usize,
    /// Its elements that are meant: any, they need not be multiples of anything.
    pub elements: Range<usize>,
}

impl NoisePart {
    /// All of a tensor of a layout; nothing of one that there is not.
    #[must_use]
    pub fn whole(layout: &ArenaLayout, tensor: usize) -> Self {
        Self { tensor, elements: 0..layout.spans().get(tensor).map_or(0, |span| span.len) }
    }
}

impl Grouping {
    /// The groups of a model, each a list of parts in the order of its tensors; `tensors` in the order of `layout`.
    #[must_use]
    pub fn groups(self, layout: &ArenaLayout, tensors: &[NoiseTensor]) -> Vec<Vec<NoisePart>> {
        let whole = |tensor| NoisePart::whole(layout, tensor);
        let all = 0..tensors.len();
        match self {
            Self::Tensor => all.map(|tensor| vec![whole(tensor)]).collect(),
            Self::Weights => all.filter(|t| tensors[*t].is_weight).map(|t| vec![whole(t)]).collect(),
            Self::Projection => all.flat_map(|t| projections(whole(t), tensors[t].projections)).collect(),
            Self::Module | Self::Block => {
                let mut groups: Vec<(Unit, Vec<NoisePart>)> = Vec::new();
                for tensor in all {
                    let unit = self.unit(tensors[tensor]);
                    match groups.iter_mut().find(|(known, _)| *known == unit) {
                        Some((_, members)) => members.push(whole(tensor)),
                        None => groups.push((unit, vec![whole(tensor)])),
                    }
                }
                groups.into_iter().map(|(_, members)| members).collect()
            }
        }
    }

    fn unit(self, tensor: NoiseTensor) -> Unit {
        match (self, tensor.block) {
            (Self::Block, Some(block)) => Unit::Block(block),
            _ => Unit::Module(tensor.module),
        }
    }
}

/// What several tensors belong to.
#[derive(PartialEq, Eq)]
enum Unit {
    Module(usize),
    Block(usize),
}

/// A group for each of the equal parts of a tensor, one at least.
fn projections(NoisePart { tensor, elements }: NoisePart, count: usize) -> impl Iterator<Item = Vec<NoisePart>> {
    let count = count.max(1);
    let len = elements.len() / count;
    (0..count).map(move |part| vec![NoisePart { tensor, elements: part * len..(part + 1) * len }])
}
