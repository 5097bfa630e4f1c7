//! The weights of convolutions as their products read them: the host side of `shaders/conv_pack.wgsl`.

use crate::gpu::{Dispatch, Element, Gpu, GpuError, Launch, View, WORD_BYTES, Work};

use super::{
    AdapterClass, Constant, Target, WORKGROUP_SIZE,
    conv_shape::ConvShape,
    conv_specs::CONV_PACK,
    flag, index_u32,
    jobs::{JobPlaces, Tabled, places_of, runs},
    padded_channels,
};

/// Invocations of a workgroup that turns a tile around, and the tile's sides: terms of a sum (inputs and taps) and outputs.
const TILE_INVOCATIONS: usize = 256;
const TILE: [usize; 2] = [32, 64];

/// The weight [out, in, kernel height, kernel width] of a convolution, to be packed as [taps, padded in, padded out].
#[derive(Clone, Copy, Debug)]
pub struct PackJob<'a> {
    /// Every size.
    pub shape: &'a ConvShape,
    /// What is packed.
    pub weight: &'a View,
    /// Packed.
    pub output: &'a View,
}

/// A row of the kernel's table.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct PackRow {
    first: u32,
    weight: u32,
    output: u32,
    in_channels: u32,
    out_channels: u32,
    taps: u32,
}

/// How a class of adapters packs.
struct Form {
    invocations: usize,
    tiled: bool,
}

impl Form {
    fn new(class: AdapterClass) -> Self {
        match class {
            AdapterClass::Gpu(_) => Self { invocations: TILE_INVOCATIONS, tiled: true },
            AdapterClass::Software(_) => Self { invocations: WORKGROUP_SIZE, tiled: false },
        }
    }

    fn workgroups(&self, shape: &ConvShape) -> usize {
        if self.tiled {
            let [inputs, outputs] = [shape.input()[2], shape.output()[2]].map(padded_channels);
            (shape.taps() * inputs).div_ceil(TILE[0]) * outputs.div_ceil(TILE[1])
        } else {
            (shape.packed_words() / 4).div_ceil(self.invocations)
        }
    }

    fn constants(&self) -> [Constant; 2] {
        [("WORKGROUP_SIZE", self.invocations as f64), flag("TILED", self.tiled)]
    }
}

fn planned(
    target: &Target,
    element: Element,
    shapes: &[ConvShape],
    places: &[JobPlaces],
) -> Result<Vec<Tabled<PackRow>>, GpuError> {
    let form = Form::new(target.class);
    runs(target.limits, places)
        .into_iter()
        .map(|run| {
            let (mut rows, mut first, mut work) = (Vec::new(), 0, Work::default());
            for job in &run.jobs {
                let (shape, [weight, output]) = (&shapes[*job], run.offsets(&places[*job]));
                let index = |words: usize, each: usize| index_u32(CONV_PACK.entry, &[words / each, element.per_word()]);
                rows.push(PackRow {
                    first: index_u32(CONV_PACK.entry, &[first])?,
                    weight: index(weight, 1)?,
                    output: index(output, 4)?,
                    in_channels: shape.input()[2] as u32,
                    out_channels: shape.output()[2] as u32,
                    taps: shape.taps() as u32,
                });
                first += form.workgroups(shape);
                let words = element.words(shape.weight_words()) + element.words(shape.packed_words());
                work.bytes += words as u64 * WORD_BYTES;
            }
            let grid = target.grid_1d(&CONV_PACK, first, 1)?;
            let launch = Launch::new(&CONV_PACK, &form.constants(), grid, form.invocations).doing(work);
            Ok(Tabled { run, rows, launch })
        })
        .collect()
}

/// What [`conv_pack`] launches for weights stored as `element` that lie in these places, with their packed ones.
pub(crate) fn conv_pack_launches(
    target: &Target,
    element: Element,
    shapes: &[ConvShape],
    places: &[JobPlaces],
) -> Result<Vec<Launch>, GpuError> {
    Ok(planned(target, element, shapes, places)?.into_iter().map(|planned| planned.launch).collect())
}

/// Plans the packing of weights for [`conv`](super::conv), by the variant for `class`: in one dispatch, where bindings reach from the
/// first to the last weight and packed one.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit, [`GpuError::Shape`] for more than one group, [`GpuError::Grid`] past the
/// adapter's grid.
pub fn conv_pack(gpu: &Gpu, class: AdapterClass, jobs: &[PackJob<'_>]) -> Result<Vec<Dispatch>, GpuError> {
    let kernel = CONV_PACK.entry;
    for PackJob { shape, weight, output } in jobs {
        if shape.groups() > 1 {
            let shape = format!("{} groups", shape.groups());
            return Err(GpuError::Shape { kernel, shape, reason: "takes one group only" });
        }
        weight.expect_len(kernel, "weight", shape.weight_words())?;
        output.expect_len(kernel, "output", shape.packed_words())?;
    }
    let Some(element) = jobs.first().map(|job| job.weight.element()) else { return Ok(Vec::new()) };
    let shapes: Vec<ConvShape> = jobs.iter().map(|job| *job.shape).collect();
    let views: Vec<_> = jobs.iter().map(|job| [job.weight, job.output]).collect();
    let planned = planned(&Target::with_class(gpu, class), element, &shapes, &places_of(&views))?;
    planned.into_iter().map(|tabled| tabled.bind(gpu, &views)).collect()
}
