//! Into how many parts long sums are cut.

/// Workgroups that a split product aims at: about two for each multiprocessor of the largest GPUs of 2026.
pub(super) const SPLIT_WORKGROUPS: usize = 256;

/// Parts of a reduction of `depth` terms over `tiles` tiles: enough that about `workgroups` of them are there, each with at
/// least `least` terms.
///
/// It depends on the shape alone, so that the order of the additions, and so every bit, is the same on every run.
pub(super) fn parts(tiles: usize, depth: usize, workgroups: usize, least: usize) -> usize {
    workgroups.div_ceil(tiles.max(1)).min(depth / least).max(1)
}

/// Multiprocessors of the GPU that the tables of `select` were measured on.
pub(super) const MULTIPROCESSORS: usize = 132;

/// Terms that tiles hold at once, whose multiples parts are.
const PART_STEP: usize = 16;

/// Terms that a part of a sum has at least: with fewer its sums take longer than its terms.
pub(super) const PART_TERMS: usize = 256;

/// What tiles want of their number.
pub(super) struct Waves {
    /// Workgroups that a multiprocessor must hold to be busy: with fewer it takes as long.
    pub(super) busy: usize,
    /// Parts' workgroups for each multiprocessor at most.
    pub(super) most: usize,
    /// Terms in whose time a part's sums go through memory and are added to the others'.
    pub(super) own: usize,
}

impl Waves {
    /// Parts of sums of `depth` terms over `tiles` tiles, each of at least [`PART_TERMS`], that are done soonest if every
    /// multiprocessor takes its workgroups in as long as one after the other. By that rule an H200's times for weight gradients
    /// of 64 x 64 tiles differ by 10 per cent at most where they are not launches: 288 workgroups take as long as 396 would.
    ///
    /// It depends on the shape alone, as [`parts`] does.
    pub(super) fn parts(&self, tiles: usize, depth: usize) -> usize {
        self.soonest(tiles, depth, |_| true)
    }

    /// The same of parts of equal length.
    pub(super) fn equal_parts(&self, tiles: usize, depth: usize) -> usize {
        self.soonest(tiles, depth, |parts| depth.is_multiple_of(parts))
    }

    fn soonest(&self, tiles: usize, depth: usize, may_be: impl Fn(usize) -> bool) -> usize {
        let most = (depth / PART_TERMS).min(self.most * MULTIPROCESSORS / tiles.max(1)).max(1);
        let time = |parts: &usize| {
            let terms = depth.div_ceil(PART_STEP).div_ceil(*parts) * PART_STEP;
            let own = if *parts > 1 { self.own } else { 0 };
            waves(tiles * parts).max(self.busy) * (terms + own)
        };
        (1..=most).filter(|parts| may_be(*parts)).min_by_key(time).unwrap_or(1)
    }

    /// Whether so many workgroups keep most multiprocessors busy to the end: the last of a few waves may be nearly empty.
    pub(super) fn filled_by(&self, workgroups: usize) -> bool {
        4 * workgroups >= 3 * MULTIPROCESSORS * waves(workgroups).max(self.busy)
    }
}

/// Workgroups that the busiest multiprocessor takes of so many.
fn waves(workgroups: usize) -> usize {
    workgroups.div_ceil(MULTIPROCESSORS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::BlockTile;

    #[test]
    fn parts_fill_the_last_wave() {
        let [large, small] = [BlockTile::LARGE, BlockTile::SMALL].map(BlockTile::waves);
        // 40 tiles: 120 workgroups, where 160 would take twice as long.
        assert_eq!(large.parts(40, 5000), 3);
        assert_eq!(large.parts(40, 784), 3);
        // 36 tiles: 396 workgroups, three waves to the last multiprocessor, where 288 take as long.
        assert_eq!(small.parts(36, 32768), 11);
        // 36 products over 8192 tiles: 576 workgroups, where 396 take less but the parts are unequal.
        assert_eq!((small.parts(36, 8192), small.equal_parts(36, 8192)), (11, 16));
        // As many tiles as multiprocessors need no parts.
        assert_eq!(large.parts(132, 1 << 20), 1);
    }

    #[test]
    fn parts_are_long_and_their_sums_bounded() {
        for waves in BlockTile::ALL.map(BlockTile::waves) {
            for tiles in [0, 1, 7, 36, 131, 133, 576, 5000] {
                for depth in [1, 255, 512, 5000, 1 << 17] {
                    let parts = waves.parts(tiles, depth);
                    assert!(parts >= 1 && (parts == 1 || parts * 256 <= depth), "{tiles} {depth}: {parts}");
                    assert!(parts == 1 || tiles * parts <= waves.most * MULTIPROCESSORS, "{tiles} {depth}: {parts}");
                }
            }
        }
    }
}
