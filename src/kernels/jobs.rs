//! Kernels that do many jobs in one dispatch, by a table of them: the host side of `shaders/shared/jobs.wgsl`. Tensors that lie in
//! one buffer are bound together, as far as a binding reaches.

use std::ops::Range;

use crate::gpu::{Dispatch, Gpu, GpuError, Launch, Limits, View, WORD_BYTES};

/// Where a tensor lies: in which of the buffers that are in question, and its words there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which buffer, by any numbering.
    pub buffer: usize,
    /// The words.
    pub words: Range<usize>,
}

/// Two tensors of a job: what it reads and what it writes.
pub(crate) type JobPlaces = [Place; 2];

/// Jobs that one dispatch does, and the words of both buffers that it is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) jobs: Vec<usize>,
    pub(super) bound: JobPlaces,
}

impl Run {
    /// The run with one job more, where its tensors lie in the same buffers and bindings of at most `most` words reach them.
    fn with(&self, job: usize, places: &JobPlaces, most: usize) -> Option<Self> {
        let [read, written] = [0, 1].map(|at| joined(&self.bound[at], &places[at], most));
        let jobs = self.jobs.iter().copied().chain([job]).collect();
        Some(Self { jobs, bound: [read?, written?] })
    }

    /// The first word of a job's tensor within what is bound.
    pub(super) fn offsets(&self, places: &JobPlaces) -> [usize; 2] {
        [0, 1].map(|at| places[at].words.start - self.bound[at].words.start)
    }
}

/// One dispatch, with the table that it goes by: a row of the kernel's for each job of its run.
pub(super) struct Tabled<Row> {
    pub(super) run: Run,
    pub(super) rows: Vec<Row>,
    pub(super) launch: Launch,
}

impl<Row: bytemuck::Pod> Tabled<Row> {
    /// Binds it to the table and to what its jobs, numbered in `views`, read and write.
    pub(super) fn bind(self, gpu: &Gpu, views: &[[&View; 2]]) -> Result<Dispatch, GpuError> {
        let [read, written] = views[self.run.jobs[0]];
        let [reads, writes] = self.run.bound.map(|place| place.words);
        let table = gpu.upload("jobs", &self.rows)?.view();
        gpu.bind(&self.launch, &[&table, &read.around(reads)?, &written.around(writes)?], &[])
    }
}

fn joined(one: &Place, other: &Place, most: usize) -> Option<Place> {
    let words = one.words.start.min(other.words.start)..one.words.end.max(other.words.end);
    (one.buffer == other.buffer && words.len() <= most).then_some(Place { buffer: one.buffer, words })
}

/// The dispatches that jobs take, each job in the first that can do it.
pub(super) fn runs(limits: Limits, jobs: &[JobPlaces]) -> Vec<Run> {
    let most = (limits.binding_bytes / WORD_BYTES) as usize;
    let mut runs: Vec<Run> = Vec::new();
    for (job, places) in jobs.iter().enumerate() {
        let joined = runs.iter().enumerate().find_map(|(at, run)| Some((at, run.with(job, places, most)?)));
        match joined {
            Some((at, run)) => runs[at] = run,
            None => runs.push(Run { jobs: vec![job], bound: places.clone() }),
        }
    }
    runs
}

/// Where views lie.
pub(super) fn places_of(jobs: &[[&View; 2]]) -> Vec<JobPlaces> {
    let views: Vec<&View> = jobs.iter().flatten().copied().collect();
    let buffer = |view: &View| views.iter().position(|other| other.shares_buffer(view)).unwrap_or_default();
    jobs.iter().map(|job| job.map(|view| Place { buffer: buffer(view), words: view.span() })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { buffer_bytes: 1 << 20, binding_bytes: 4000, workgroups: 65_535, workgroup_bytes: 1 << 14 };

    fn place(buffer: usize, start: usize, words: usize) -> Place {
        Place { buffer, words: start..start + words }
    }

    #[test]
    fn jobs_of_the_same_buffers_go_together_as_far_as_bindings_reach() {
        let jobs = [
            [place(0, 0, 100), place(1, 640, 64)],
            [place(0, 128, 100), place(2, 0, 64)],
            [place(0, 256, 100), place(1, 64, 64)],
            // 1001 words after the first.
            [place(0, 901, 100), place(1, 0, 64)],
        ];
        let found = runs(LIMITS, &jobs);
        let jobs_of: Vec<_> = found.iter().map(|run| run.jobs.clone()).collect();
        assert_eq!(jobs_of, [vec![0, 2], vec![1], vec![3]]);
        assert_eq!(found[0].bound, [place(0, 0, 356), place(1, 64, 640)]);
        assert_eq!(found[0].offsets(&jobs[2]), [256, 0]);
    }
}
