//! Muon: the momentum of hidden matrices (`shaders/matrix_momentum.wgsl`) made orthogonal, and AdamW on all else.

use crate::gpu::{
    ALIGNMENT_WORDS, Access, Buffer, Dispatch, Gpu, GpuError, KernelSpec, Launch, Recorder, WORD_BYTES, Work,
};

use super::{
    AdamStep, AdapterClass, Arena, ArenaLayout, Constant, NoiseRange, Orthogonalise, Target, UpdateAdam, UpdateMatrix,
    UpdateVariant, arena_parts, flag, select::with_variants,
};

pub(super) static MATRIX_MOMENTUM: KernelSpec = KernelSpec {
    entry: "matrix_momentum",
    source: concat!(
        include_str!("../../shaders/matrix_momentum.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/scaling.wgsl"),
    ),
    bindings: &[
        ("grads", Access::ReadWrite),
        ("exp_avg", Access::ReadWrite),
        ("blocks", Access::Read),
        ("scaling", Access::Read),
    ],
    immediate_bytes: size_of::<MomentumValues>() as u32,
};

/// Immediates of the momentum.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct MomentumValues {
    count: u32,
    block_base: u32,
    momentum: f32,
    one_minus_momentum: f32,
}

/// How hidden matrices move.
#[derive(Clone, Copy, Debug)]
pub struct MatrixUpdate {
    /// Share of the past in the moving average of gradients.
    pub momentum: f64,
    /// Whether the update looks ahead along the average.
    pub nesterov: bool,
    /// What orthogonal matrices of so many rows and columns are multiplied by, beside the learning rate.
    pub scale: fn([usize; 2]) -> f64,
}

/// The compiled update of one network, in whose gradients it leaves the updates of hidden matrices.
#[derive(Debug)]
pub struct UpdateMuon {
    momentum: Vec<Dispatch>,
    orthogonalise: Orthogonalise,
    update: UpdateAdam,
}

/// Rows and columns of the hidden matrices, with the number of each tensor.
fn matrices(layout: &ArenaLayout) -> impl Iterator<Item = (usize, [usize; 2])> {
    let hidden = layout.spans().iter().enumerate().filter(|(_, span)| span.is_hidden);
    hidden.map(|(tensor, span)| (tensor, [span.filters, span.len / span.filters.max(1)]))
}

fn constants(scaled: bool, nesterov: bool) -> [Constant; 2] {
    [flag("SCALED", scaled), flag("NESTEROV", nesterov)]
}

impl UpdateMuon {
    /// Plans the update; `moments` are arenas like the others and start at 0. The first one is the momentum of hidden matrices, the
    /// second one is theirs for nothing.
    ///
    /// # Errors
    /// As [`UpdateAdam::new`] and [`Orthogonalise::new`].
    pub fn new(
        gpu: &Gpu,
        class: AdapterClass,
        arena: &Arena,
        moments: [&Buffer; 2],
        variant: UpdateVariant,
        matrix: MatrixUpdate,
    ) -> Result<Self, GpuError> {
        let tensors = matrices(&arena.layout).map(|(tensor, sides)| {
            Ok(UpdateMatrix { view: arena.tensor(&arena.grads, tensor)?, sides, scale: (matrix.scale)(sides) })
        });
        let tensors: Vec<UpdateMatrix> = tensors.collect::<Result<_, GpuError>>()?;
        let orthogonalise = with_variants(gpu, |class| Orthogonalise::new(gpu, class, &tensors))?;
        let momentum = arena_parts(gpu.limits(), arena.layout.words()).map(|(start, words)| {
            let values = MomentumValues {
                count: (words / 4) as u32,
                block_base: (start / ALIGNMENT_WORDS) as u32,
                momentum: matrix.momentum as f32,
                one_minus_momentum: (1.0 - matrix.momentum) as f32,
            };
            let constants = constants(variant.scaled, matrix.nesterov);
            let launch = Target::for_device(gpu).launch(&MATRIX_MOMENTUM, &constants, words / 4)?;
            let [grads, average] = [&arena.grads, moments[0]].map(|buffer| buffer.part(start, words));
            let views = [&grads?, &average?, &arena.blocks.view(), &arena.scaling.view()];
            gpu.bind(&launch, &views, bytemuck::bytes_of(&values))
        });
        let momentum = momentum.collect::<Result<_, _>>()?;
        let update = UpdateAdam::new(gpu, class, arena, &moments, UpdateVariant { orthogonal: true, ..variant })?;
        Ok(Self { momentum, orthogonalise, update })
    }

    /// What an update of an arena launches, all of it getting noise.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the adapter's grid.
    pub fn launches(
        target: &Target,
        layout: &ArenaLayout,
        variant: UpdateVariant,
        nesterov: bool,
    ) -> Result<Vec<Launch>, GpuError> {
        let sides: Vec<[usize; 2]> = matrices(layout).map(|(_, sides)| sides).collect();
        let elements: usize = sides.iter().map(|[rows, columns]| rows * columns).sum();
        // Of an arena in parts each has its share, but for rounding: gradient and momentum are read and written.
        let share = |words: usize| (elements as f64 * words as f64 / layout.words().max(1) as f64) as u64;
        let momentum = arena_parts(target.limits, layout.words()).map(|(_, words)| {
            let launch = target.launch(&MATRIX_MOMENTUM, &constants(variant.scaled, nesterov), words / 4)?;
            Ok(launch.doing(Work { flops: 6 * share(words), bytes: 4 * share(words) * WORD_BYTES }))
        });
        let mut launches = momentum.collect::<Result<Vec<_>, GpuError>>()?;
        launches.extend(Orthogonalise::launches(target, &sides)?);
        let variant = UpdateVariant { orthogonal: true, ..variant };
        launches.extend(UpdateAdam::launches(target, layout.words(), variant)?);
        Ok(launches)
    }

    /// Words of device memory that the update of an arena takes beside its moments.
    ///
    /// # Errors
    /// As [`Orthogonalise::scratch_words`].
    pub fn scratch_words(class: AdapterClass, layout: &ArenaLayout) -> Result<usize, GpuError> {
        let sides: Vec<[usize; 2]> = matrices(layout).map(|(_, sides)| sides).collect();
        Orthogonalise::scratch_words(class, &sides)
    }

    /// Records one update; `values.noise` holds seed, step and sigma.
    ///
    /// # Errors
    /// As [`UpdateAdam::record`].
    pub fn record(
        &self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        ranges: &[NoiseRange],
        values: AdamStep,
    ) -> Result<(), GpuError> {
        self.momentum.iter().for_each(|dispatch| recorder.run(dispatch));
        self.orthogonalise.record(recorder);
        self.update.record(gpu, recorder, ranges, values)
    }
}
