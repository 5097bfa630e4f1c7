//! The sums of several products' parts in one dispatch: the host side of `shaders/deferred_sums.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, View, WORD_BYTES, Work};

use super::{
    Target, index_u32,
    jobs::{JobPlaces, Run, Tabled, places_of, runs},
    split_sum::SplitSum,
    tree::Tree,
};

pub(super) static DEFERRED_SUMS: KernelSpec = KernelSpec {
    entry: "deferred_sums",
    source: concat!(
        include_str!("../../shaders/deferred_sums.wgsl"),
        include_str!("../../shaders/shared/jobs.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[("table", Access::Read), ("partials", Access::Read), ("c", Access::ReadWrite)],
    immediate_bytes: 0,
};

/// A sum that has been put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeferredSum {
    /// How many parts of how many elements.
    pub sum: SplitSum,
    /// Whether the result is added to what is there.
    pub accumulate: bool,
}

/// A row of the kernel's table.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct SumRow {
    first: u32,
    partials: u32,
    c: u32,
    parts: u32,
    count: u32,
    adds: u32,
}

/// The sums that are shared out alike go together.
fn planned(target: &Target, sums: &[DeferredSum], places: &[JobPlaces]) -> Result<Vec<Tabled<SumRow>>, GpuError> {
    let mut trees: Vec<Tree> = Vec::new();
    for DeferredSum { sum, .. } in sums {
        if !trees.contains(&sum.tree()) {
            trees.push(sum.tree());
        }
    }
    let mut all = Vec::new();
    for tree in trees {
        let alike: Vec<usize> = (0..sums.len()).filter(|job| sums[*job].sum.tree() == tree).collect();
        let their_places: Vec<JobPlaces> = alike.iter().map(|job| places[*job].clone()).collect();
        for run in runs(target.limits, &their_places) {
            let jobs = run.jobs.iter().map(|job| alike[*job]).collect();
            all.push(dispatch(target, tree, (sums, places), Run { jobs, ..run })?);
        }
    }
    Ok(all)
}

/// The dispatch of a run.
fn dispatch(
    target: &Target,
    tree: Tree,
    (sums, places): (&[DeferredSum], &[JobPlaces]),
    run: Run,
) -> Result<Tabled<SumRow>, GpuError> {
    let (mut rows, mut first, mut most, mut work) = (Vec::new(), 0, 0, Work::default());
    for job in &run.jobs {
        let DeferredSum { sum: SplitSum { parts, count, .. }, accumulate } = sums[*job];
        let [partials, c] = run.offsets(&places[*job]);
        let index = |words: usize| index_u32(DEFERRED_SUMS.entry, &[words]);
        rows.push(SumRow {
            first: index(first)?,
            partials: index(partials)?,
            c: index(c)?,
            parts,
            count,
            adds: u32::from(accumulate),
        });
        first += SplitSum::workgroups(tree, count);
        most = most.max(parts as usize);
        let (parts, count) = (u64::from(parts), u64::from(count));
        let results = if accumulate { 2 * count } else { count };
        work.flops += parts * count;
        work.bytes += (parts * count + results) * WORD_BYTES;
    }
    let launch = tree.launch(target, &DEFERRED_SUMS, &[], first, tree.chain(most, 1))?.doing(work);
    Ok(Tabled { run, rows, launch })
}

/// What [`deferred_sums`] launches for parts and results that lie in these places.
pub(crate) fn deferred_sums_launches(
    target: &Target,
    sums: &[DeferredSum],
    places: &[JobPlaces],
) -> Result<Vec<Launch>, GpuError> {
    Ok(planned(target, sums, places)?.into_iter().map(|planned| planned.launch).collect())
}

/// Plans the sums of parts into their results: in one dispatch or two, the sums of many parts apart, where bindings reach from the
/// first to the last.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit, [`GpuError::Grid`] past the adapter's grid.
pub fn deferred_sums(gpu: &Gpu, sums: &[DeferredSum], views: &[[&View; 2]]) -> Result<Vec<Dispatch>, GpuError> {
    let kernel = DEFERRED_SUMS.entry;
    for (DeferredSum { sum, .. }, [partials, c]) in sums.iter().zip(views) {
        let (count, found) = (sum.count as usize, partials.len());
        let expected = sum.parts as usize * count;
        if found < expected {
            return Err(GpuError::Length { kernel, argument: "partials", expected, found });
        }
        c.expect_len(kernel, "c", count)?;
    }
    let planned = planned(&Target::for_device(gpu), sums, &places_of(views))?;
    planned.into_iter().map(|tabled| tabled.bind(gpu, views)).collect()
}
