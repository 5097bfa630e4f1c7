//! Images as rows of features, channel first, or as sequences of their pixels, and back; with the host side of `shaders/flatten.wgsl`.

use std::sync::Arc;

use crate::{
    gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, View},
    graph::{
        Backward, Binding, Call, Forward, Graph, GraphError, Inputs, Kernel, LaunchContext, Op, ParamId, ParamSpec,
        Record, Saved, StatId, Tangent, ValueId, ValueShape,
    },
    kernels::{Elementwise, Target, flag, index_u32, padded_channels},
};

use super::{
    elementwise::ElementwiseStep,
    layer::{LayerKind, NoKeys, keys},
};

/// An image as a row of features, channel first, or a sequence as its vectors one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flatten;

/// A row of features as the channels of an image of one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unflatten;

/// An image as the sequence of its pixels' channels, row after row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelSequence;

/// Images [batch, pixels, padded channels] to rows [batch, channels pixels], or back; operands: input, output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rearrange {
    batch: usize,
    pixels: usize,
    channels: usize,
    /// Rows to images.
    back: bool,
    /// How rows are ordered.
    order: RowOrder,
}

impl Rearrange {
    fn shape(&self) -> [usize; 3] {
        [self.batch, self.pixels, self.channels]
    }
}

/// The order of an image's elements in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// Channel after channel: `torch.flatten`.
    ChannelFirst,
    /// Pixel after pixel: a sequence of vectors.
    ChannelLast,
}

impl Kernel for Rearrange {
    fn kind(&self) -> &'static str {
        "flatten"
    }

    fn sizes(&self) -> String {
        format!("{} x {} x {}", self.batch, self.pixels, self.channels)
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Linear(0)
    }

    fn flops(&self, _call: &Call) -> u64 {
        0
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![flatten_launch(&context.target, self.shape(), self.order, [self.back, call.adds(1)])?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let views = [binding.view(0)?, binding.view(1)?];
        Ok(Box::new(flatten(binding.gpu, views, self.shape(), self.order, [self.back, call.adds(1)])?))
    }
}

impl Op for Flatten {
    fn name(&self) -> &'static str {
        "flatten"
    }

    fn canonical_text(&self, _params: &[ParamId], _stats: &[StatId]) -> String {
        "flatten".to_owned()
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        Ok(ValueShape::Features(inputs.first().features()))
    }

    fn params(&self, _inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(Vec::new())
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let kernel = flattening(pass.batch(), pass.input_shape(0), RowOrder::ChannelFirst, false);
        let operands = [pass.input(0), pass.output()];
        pass.push("flatten forward", kernel, operands);
        Ok(Saved::default())
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        if let Some(result) = pass.input_gradient(0) {
            let kernel = flattening(pass.batch(), pass.input_shape(0), RowOrder::ChannelFirst, true);
            pass.push("flatten backward", kernel, [pass.gradient(), result]);
        }
        Ok(())
    }
}

/// A batch of images to rows of features, or back; what lies in memory in the order of the row already is copied.
fn flattening(batch: usize, value: ValueShape, order: RowOrder, back: bool) -> Arc<dyn Kernel> {
    let (pixels, channels) = (value.pixels(), value.channels());
    let lies_so = order == RowOrder::ChannelLast && channels == value.stride();
    match value {
        ValueShape::Image { .. } if !lies_so => Arc::new(Rearrange { batch, pixels, channels, back, order }),
        _ => Arc::new(ElementwiseStep(Elementwise::Copy)),
    }
}

impl Op for Unflatten {
    fn name(&self) -> &'static str {
        "unflatten"
    }

    fn canonical_text(&self, _params: &[ParamId], _stats: &[StatId]) -> String {
        "unflatten".to_owned()
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        Ok(ValueShape::Image { channels: inputs.features()?, height: 1, width: 1 })
    }

    fn params(&self, _inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(Vec::new())
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let (batch, channels) = (pass.batch(), pass.input_shape(0).features());
        let operands = [pass.input(0), pass.output()];
        pass.push(
            "unflatten forward",
            Arc::new(Rearrange { batch, pixels: 1, channels, back: true, order: RowOrder::ChannelFirst }),
            operands,
        );
        Ok(Saved::default())
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let (batch, channels) = (pass.batch(), pass.input_shape(0).features());
        if let Some(result) = pass.input_gradient(0) {
            let kernel = Rearrange { batch, pixels: 1, channels, back: false, order: RowOrder::ChannelFirst };
            pass.push("unflatten backward", Arc::new(kernel), [pass.gradient(), result]);
        }
        Ok(())
    }
}

impl Op for PixelSequence {
    fn name(&self) -> &'static str {
        "sequence"
    }

    fn canonical_text(&self, _params: &[ParamId], _stats: &[StatId]) -> String {
        "sequence".to_owned()
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        let [height, width, features] = inputs.image()?;
        Ok(ValueShape::Sequence { length: height * width, features })
    }

    fn params(&self, _inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(Vec::new())
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let kernel = flattening(pass.batch(), pass.input_shape(0), RowOrder::ChannelLast, false);
        let operands = [pass.input(0), pass.output()];
        pass.push("sequence forward", kernel, operands);
        Ok(Saved::default())
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        if let Some(result) = pass.input_gradient(0) {
            let kernel = flattening(pass.batch(), pass.input_shape(0), RowOrder::ChannelLast, true);
            pass.push("sequence backward", kernel, [pass.gradient(), result]);
        }
        Ok(())
    }
}

/// The layers in files.
pub(super) const LAYERS: &[LayerKind] = &[
    LayerKind {
        name: "flatten",
        stem: None,
        add: |site, table| {
            let NoKeys {} = keys(table)?;
            Ok(site.graph.flatten(site.input)?)
        },
    },
    LayerKind {
        name: "sequence",
        stem: None,
        add: |site, table| {
            let NoKeys {} = keys(table)?;
            Ok(site.graph.sequence(site.input)?)
        },
    },
];

impl Graph {
    /// Adds the flattening of an image to a row, channel first, or of a sequence, vector after vector; a row stays what it is.
    ///
    /// # Errors
    /// None in practice: the shape is that of the input.
    pub fn flatten(&mut self, input: ValueId) -> Result<ValueId, GraphError> {
        if matches!(self.shape(input), ValueShape::Features(_)) {
            return Ok(input);
        }
        self.add_op(Arc::new(Flatten), "", &[input])
    }

    /// Adds an image's pixels as a sequence of vectors, row after row: [height, width, channels] to [height width, channels]. After a
    /// convolution whose stride is its kernel these are the embeddings of patches.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for what is no image.
    pub fn sequence(&mut self, image: ValueId) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(PixelSequence), "", &[image])
    }
}

static FLATTEN: KernelSpec = KernelSpec {
    entry: "flatten",
    source: concat!(include_str!("../../shaders/flatten.wgsl"), include_str!("../../shaders/shared/index.wgsl")),
    bindings: &[("input", Access::Real), ("output", Access::Real)],
    immediate_bytes: 16,
};

/// The kernel.
pub(super) const SPECS: &[&KernelSpec] = &[&FLATTEN];

/// What [`flatten`] launches.
fn flatten_launch(
    target: &Target,
    [batch, pixels, channels]: [usize; 3],
    order: RowOrder,
    [back, accumulate]: [bool; 2],
) -> Result<Launch, GpuError> {
    let per_pixel = if back { padded_channels(channels) } else { channels };
    let is_last = order == RowOrder::ChannelLast;
    let constants = [flag("BACK", back), flag("CHANNEL_LAST", is_last), flag("ACCUMULATE", accumulate)];
    target.launch(&FLATTEN, &constants, batch * pixels * per_pixel)
}

/// Plans the rows [batch, channels * pixels] of images [batch, pixels, padded channels], in this order, or with `back` the images of
/// rows.
///
/// # Errors
/// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
pub fn flatten(
    gpu: &Gpu,
    [input, output]: [&View; 2],
    [batch, pixels, channels]: [usize; 3],
    order: RowOrder,
    [back, accumulate]: [bool; 2],
) -> Result<Dispatch, GpuError> {
    let kernel = FLATTEN.entry;
    let stride = padded_channels(channels);
    index_u32(kernel, &[batch, pixels, stride])?;
    let (image, rows) = if back { (output, input) } else { (input, output) };
    image.expect_len(kernel, "image", batch * pixels * stride)?;
    rows.expect_len(kernel, "rows", batch * pixels * channels)?;
    let launch = flatten_launch(&Target::for_device(gpu), [batch, pixels, channels], order, [back, accumulate])?;
    let immediates = [batch, pixels, channels, stride].map(|side| side as u32);
    gpu.bind(&launch, &[input, output], bytemuck::cast_slice(&immediates))
}
