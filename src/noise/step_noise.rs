//! What the noise of one step is: where, how strong, by which numbers.

use std::ops::Range;

use crate::kernels::{ArenaLayout, NoiseEdge, NoiseRange, NoiseStep};

use super::{
    NoisePart, Stream,
    draw::{key, philox},
};

/// Elements of a block.
const BLOCK: usize = u64::BITS as usize;

/// What one step does.
#[derive(Clone, Debug, PartialEq)]
pub struct StepNoise {
    /// The arena in order, split where noise begins and ends. Blocks that are noisy in part are clean here.
    pub ranges: Vec<NoiseRange>,
    /// Blocks that are noisy in part: where a part of a tensor begins or ends within one.
    pub edges: Vec<NoiseEdge>,
    /// Seed, step and standard deviation for the kernels.
    pub values: NoiseStep,
    /// The noisy group in mode `layer`.
    pub group: Option<usize>,
}

impl StepNoise {
    /// Standard deviation of the noise on each noisy weight, negative where it is mirrored; 0 where none is.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        let noisy = !self.edges.is_empty() || self.ranges.iter().any(|range| range.noisy);
        if noisy { f64::from(self.values.sigma) } else { 0.0 }
    }

    /// The block after the last, where the ranges are in order and without a gap from block 0 on, and hold the blocks of all edges.
    #[must_use]
    pub fn end(&self) -> Option<u32> {
        let end =
            self.ranges.iter().try_fold(0, |end, range| (range.blocks.start == end).then_some(range.blocks.end))?;
        self.edges.iter().all(|edge| edge.block < end).then_some(end)
    }

    /// No noise on any tensor of a layout.
    #[must_use]
    pub fn none(layout: &ArenaLayout) -> Self {
        let ranges = vec![NoiseRange { blocks: 0..layout.blocks(), noisy: false }];
        Self { ranges, edges: Vec::new(), values: NoiseStep::default(), group: None }
    }

    /// Noise of standard deviation `sigma` on some tensors of a layout, drawn by seed and step: for schemes of one's own. A step
    /// beyond 2^32 starts the counters anew.
    #[must_use]
    pub fn on_tensors(layout: &ArenaLayout, tensors: &[usize], seed: u64, step: u64, sigma: f64) -> Self {
        let parts: Vec<_> = tensors.iter().map(|tensor| NoisePart::whole(layout, *tensor)).collect();
        Self::on_parts(layout, &parts, seed, step, sigma)
    }

    /// As [`StepNoise::on_tensors`], on parts of tensors: each of their elements gets what it would get with its whole tensor.
    #[must_use]
    pub fn on_parts(layout: &ArenaLayout, parts: &[NoisePart], seed: u64, step: u64, sigma: f64) -> Self {
        let (ranges, edges) = split(layout, parts);
        Self { ranges, edges, values: values(seed, step, sigma), group: None }
    }

    /// The same tensors and the same strength with the numbers of draw `number` of the step.
    ///
    /// Draw 0 is the noise as it is. Any other has a key of its own, which Philox makes of the seed and the draw's number, so
    /// that the draws of a step, and those of different steps and tensors, are independent of each other: what
    /// `jax.random.fold_in` does.
    #[must_use]
    pub fn draw(self, number: u32) -> Self {
        if number == 0 {
            return self;
        }
        let key = [self.values.seed_low, self.values.seed_high];
        let [seed_low, seed_high, ..] = philox([number, 0, 0, Stream::Draw as u32], key);
        Self { values: NoiseStep { seed_low, seed_high, ..self.values }, ..self }
    }

    /// The same noise times a factor: exactly mirrored at -1.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let sigma = (f64::from(self.values.sigma) * factor) as f32;
        Self { values: NoiseStep { sigma, ..self.values }, ..self }
    }
}

/// What the kernels need beside the places.
pub(super) fn values(seed: u64, step: u64, sigma: f64) -> NoiseStep {
    let [seed_low, seed_high] = key(seed);
    NoiseStep { seed_low, seed_high, step: step as u32, sigma: sigma as f32, ..NoiseStep::default() }
}

/// The arena in order, noisy in `parts` and clean elsewhere, and the blocks that are noisy in part.
pub(super) fn split(layout: &ArenaLayout, parts: &[NoisePart]) -> (Vec<NoiseRange>, Vec<NoiseEdge>) {
    let (mut ranges, mut edges, mut done) = (Vec::new(), Vec::<NoiseEdge>::new(), 0);
    let mut push = |blocks: Range<u32>, noisy| {
        if !blocks.is_empty() {
            ranges.push(NoiseRange { blocks, noisy });
        }
    };
    for elements in noisy_elements(layout, parts) {
        let blocks = (elements.start / BLOCK) as u32..elements.end.div_ceil(BLOCK) as u32;
        let whole = elements.start.div_ceil(BLOCK) as u32..(elements.end / BLOCK) as u32;
        for block in blocks.filter(|block| !whole.contains(block)) {
            let mask = mask(&elements, block as usize * BLOCK);
            match edges.last_mut() {
                Some(last) if last.block == block => last.mask |= mask,
                _ => edges.push(NoiseEdge { block, mask }),
            }
        }
        if !whole.is_empty() {
            push(done..whole.start, false);
            done = whole.end;
            push(whole, true);
        }
    }
    push(done..layout.blocks(), false);
    (ranges, edges)
}

/// Bits of the 64 elements from `start` on that are in `elements`, of which some are and some are not.
fn mask(elements: &Range<usize>, start: usize) -> u64 {
    let first = elements.start.saturating_sub(start);
    let end = (elements.end - start).min(BLOCK);
    (u64::MAX >> (BLOCK - (end - first))) << first
}

/// Elements of the arena, in order and apart. A tensor's last brings along the padding behind it, which nobody reads, so that
/// whole tensors are whole blocks.
fn noisy_elements(layout: &ArenaLayout, parts: &[NoisePart]) -> Vec<Range<usize>> {
    let place = |part: &NoisePart| {
        let span = layout.spans().get(part.tensor)?;
        let end = part.elements.end.min(span.len);
        let last = if end == span.len { span.blocks().end as usize * BLOCK } else { span.start + end };
        (part.elements.start < end).then_some(span.start + part.elements.start..last)
    };
    let mut places: Vec<Range<usize>> = parts.iter().filter_map(place).collect();
    places.sort_by_key(|place| place.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for place in places {
        match merged.last_mut() {
            Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
            _ => merged.push(place),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> ArenaLayout {
        let shapes: [&[usize]; 3] = [&[60, 4], &[60], &[3]];
        ArenaLayout::new(shapes)
    }

    fn part(tensor: usize, elements: Range<usize>) -> NoisePart {
        NoisePart { tensor, elements }
    }

    /// Per element of the arena whether it is noisy, as the kernels take it.
    fn marked(layout: &ArenaLayout, (ranges, edges): &(Vec<NoiseRange>, Vec<NoiseEdge>)) -> Vec<bool> {
        let mut marked = vec![false; layout.words()];
        for range in ranges.iter().filter(|range| range.noisy) {
            marked[range.blocks.start as usize * BLOCK..range.blocks.end as usize * BLOCK].fill(true);
        }
        for edge in edges {
            for element in 0..BLOCK {
                marked[edge.block as usize * BLOCK + element] = edge.mask >> element & 1 == 1;
            }
        }
        marked
    }

    /// Every pair of ends within a tensor, so every way to begin and end within blocks.
    #[test]
    fn parts_are_marked_to_the_element() {
        let layout = layout();
        for (tensor, span) in layout.spans().iter().enumerate() {
            for start in 0..span.len {
                for end in start + 1..=span.len {
                    let found = split(&layout, &[part(tensor, start..end)]);
                    let marked = marked(&layout, &found);
                    let noisy: Vec<usize> = (0..span.len).filter(|i| marked[span.start + i]).collect();
                    assert!(noisy.iter().copied().eq(start..end), "{tensor}: {start}..{end} gave {noisy:?}");
                    let outside = |i: &usize| !(span.start..span.blocks().end as usize * BLOCK).contains(i);
                    assert!((0..layout.words()).filter(outside).all(|i| !marked[i]), "{tensor}: {start}..{end}");
                    assert!(found.1.len() <= 2);
                    let noise = StepNoise::on_parts(&layout, &[part(tensor, start..end)], 1, 2, 0.5);
                    assert_eq!((noise.end(), noise.sigma()), (Some(layout.blocks()), 0.5));
                }
            }
        }
    }

    #[test]
    fn neighbours_are_merged_and_strangers_share_a_block() {
        let layout = layout();
        let thirds = [part(0, 80..160), part(0, 0..80), part(0, 160..240)];
        let whole = split(&layout, &[NoisePart::whole(&layout, 0)]);
        assert_eq!(split(&layout, &thirds), whole);
        assert_eq!(whole.0, [NoiseRange { blocks: 0..4, noisy: true }, NoiseRange { blocks: 4..8, noisy: false }]);
        assert!(whole.1.is_empty());
        let outer = split(&layout, &[part(1, 0..20), part(1, 40..50)]);
        assert_eq!(outer.1, [NoiseEdge { block: 4, mask: 0xF_FFFF | 0x3FF << 40 }]);
        assert_eq!(outer.0, [NoiseRange { blocks: 0..8, noisy: false }]);
        assert_eq!(split(&layout, &[part(7, 0..3), part(0, 5..5)]).1, [], "no such tensor, no element");
    }

    #[test]
    fn edges_off_the_arena_are_no_end() {
        let mut noise = StepNoise::none(&layout());
        assert_eq!((noise.end(), noise.sigma()), (Some(8), 0.0));
        noise.edges.push(NoiseEdge { block: 8, mask: 1 });
        assert_eq!(noise.end(), None);
    }
}
