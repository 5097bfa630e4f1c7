//! Token embeddings: a learned vector for each token of a vocabulary.
//!
//! ```text
//! output[n, t] = weight[token[n, t]]
//! ```

use std::{ops::Range, sync::Arc};

use serde::Deserialize;

use crate::{
    gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, View},
    graph::{
        Backward, Binding, Call, Cut, Forward, Graph, GraphError, Inputs, Kernel, LaunchContext, Op, ParamId,
        ParamInit, ParamRole, ParamSpec, Record, Saved, StatId, Tangent, ValueId, ValueShape,
    },
    kernels::{AdapterClass, Target, Tree, flag, index_u32},
};

use super::{
    layer::{LayerError, LayerKind, keys},
    token_order::TokenOrder,
};

static EMBEDDING: KernelSpec = KernelSpec {
    entry: "embedding",
    source: concat!(include_str!("../../shaders/embedding.wgsl"), include_str!("../../shaders/shared/index.wgsl"),),
    bindings: &[("weight", Access::Real), ("tokens", Access::ReadWrite), ("output", Access::Real)],
    immediate_bytes: 20,
};

static EMBEDDING_GRADIENT: KernelSpec = KernelSpec {
    entry: "embedding_gradient",
    source: concat!(
        include_str!("../../shaders/embedding_gradient.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[
        ("grad_output", Access::Real),
        ("order", Access::ReadWrite),
        ("starts", Access::ReadWrite),
        ("grad_weight", Access::ReadWrite),
    ],
    immediate_bytes: 12,
};

pub(super) const SPECS: &[&KernelSpec] = &[&EMBEDDING, &EMBEDDING_GRADIENT];

/// A token embedding; parameter: weight [vocabulary, features].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// Numbers of a vector.
    pub features: usize,
}

/// A table of vectors as a batch uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddingShape {
    /// Tokens of the batch.
    pub rows: usize,
    /// Numbers of a vector.
    pub features: usize,
    /// Vectors.
    pub vocabulary: usize,
}

impl EmbeddingShape {
    fn sizes(self) -> [u32; 3] {
        [self.rows, self.features, self.vocabulary].map(|size| size as u32)
    }

    /// Fails past what the kernels index.
    fn check(self, kernel: &'static str) -> Result<(), GpuError> {
        index_u32(kernel, &[self.rows, self.features])?;
        index_u32(kernel, &[self.vocabulary, self.features]).map(|_| ())
    }

    /// Rows of a token, were all alike; some have many times as many.
    fn rows_of_a_token(self) -> usize {
        self.rows.div_ceil(self.vocabulary)
    }

    /// How the sums over a token's rows are shared out: by a few lanes at least, for tokens that are more frequent than others; more
    /// where one lane could not do all the rows, were they of one token, on a software adapter.
    fn tree(self, class: AdapterClass) -> Tree {
        const FEW: usize = 4;
        Tree::columns(class, self.rows_of_a_token().max(FEW), self.features).within_software_rounds(self.rows)
    }

    /// What [`embedding_gradient`] launches.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn gradient_launch(self, target: &Target, accumulate: bool) -> Result<Launch, GpuError> {
        let tree = self.tree(target.class);
        let workgroups = self.vocabulary * tree.workgroups(self.features);
        let (constants, chain) = ([flag("ACCUMULATE", accumulate)], tree.chain(self.rows_of_a_token(), 1));
        tree.launch(target, &EMBEDDING_GRADIENT, &constants, workgroups, chain)
    }
}

/// Plans `grad_weight[v] (+)= sum of grad_output[row]` over the rows of each token v, which [`TokenOrder`] has put in order.
///
/// Shapes: `grad_output` [rows, features], order `[rows]`, starts [vocabulary + 1], `grad_weight` [vocabulary, features].
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit, [`GpuError::Shape`] past 2^32 of them.
pub fn embedding_gradient(
    gpu: &Gpu,
    class: AdapterClass,
    shape: EmbeddingShape,
    [grad_output, order, starts, grad_weight]: [&View; 4],
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    let kernel = EMBEDDING_GRADIENT.entry;
    shape.check(kernel)?;
    grad_output.expect_len(kernel, "grad_output", shape.rows * shape.features)?;
    order.expect_len(kernel, "order", shape.rows)?;
    starts.expect_len(kernel, "starts", shape.vocabulary + 1)?;
    grad_weight.expect_len(kernel, "grad_weight", shape.vocabulary * shape.features)?;
    let launch = shape.gradient_launch(&Target::with_class(gpu, class), accumulate)?;
    gpu.bind(&launch, &[grad_output, order, starts, grad_weight], bytemuck::cast_slice(&shape.sizes()))
}

/// Vectors of tokens; operands: weight, tokens, output.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lookup {
    shape: EmbeddingShape,
    /// The tokens of the part of the table that it looks up: all, unless the table is past a binding.
    part: Range<usize>,
}

impl Lookup {
    fn new(shape: EmbeddingShape) -> Self {
        Self { shape, part: 0..shape.vocabulary }
    }

    fn launch(&self, target: &Target) -> Result<Launch, GpuError> {
        target.launch(&EMBEDDING, &[], self.shape.rows * self.shape.features)
    }
}

/// The rows, features and vocabulary of a call.
fn sizes(EmbeddingShape { rows, features, vocabulary }: EmbeddingShape) -> String {
    format!("{rows} rows of {features} from {vocabulary}")
}

impl Kernel for Lookup {
    fn kind(&self) -> &'static str {
        "embedding"
    }

    fn sizes(&self) -> String {
        sizes(self.shape)
    }

    /// Linear in the table.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Linear(0)
    }

    fn flops(&self, _call: &Call) -> u64 {
        0
    }

    /// Each part of the table by itself: none writes the vectors of another's tokens.
    fn cut(&self, call: &Call, cut: &mut dyn Cut) -> Option<Vec<Call>> {
        let [table, tokens, output] = call.operands.first_chunk::<3>().copied()?;
        let EmbeddingShape { vocabulary, features, .. } = self.shape;
        let parts = cut.rows(vocabulary, features).filter(|_| !cut.has_others(call, &[]))?;
        let of_part = |part: Range<usize>| {
            let operands = vec![table.rows(&part, features), tokens, output];
            Call { kernel: Arc::new(Self { part, ..*self }), operands }
        };
        Some(parts.into_iter().map(of_part).collect())
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.launch(&context.target)?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let (kernel, shape) = (EMBEDDING.entry, self.shape);
        shape.check(kernel)?;
        let views: [&View; 3] = [binding.view(0)?, binding.view(1)?, binding.view(2)?];
        views[0].expect_len(kernel, "weight", self.part.len() * shape.features)?;
        views[1].expect_len(kernel, "tokens", shape.rows)?;
        views[2].expect_len(kernel, "output", shape.rows * shape.features)?;
        let launch = self.launch(&Target::for_device(binding.gpu))?;
        let [rows, features, vocabulary] = shape.sizes();
        let sizes = [rows, features, vocabulary, self.part.start as u32, self.part.len() as u32];
        Ok(Box::new(binding.gpu.bind(&launch, &views, bytemuck::cast_slice(&sizes))?))
    }
}

/// The gradient of a table; operands: the output's gradient, order and starts of its rows, the table's gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TableGradient(EmbeddingShape);

impl Kernel for TableGradient {
    fn kind(&self) -> &'static str {
        "embedding gradient"
    }

    fn sizes(&self) -> String {
        sizes(self.0)
    }

    /// Linear in the output's gradient.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Linear(0)
    }

    fn flops(&self, _call: &Call) -> u64 {
        (self.0.rows * self.0.features) as u64
    }

    /// Each part of the table by itself.
    fn cut(&self, call: &Call, cut: &mut dyn Cut) -> Option<Vec<Call>> {
        let [gradient, order, starts, table] = call.operands.first_chunk::<4>().copied()?;
        let EmbeddingShape { vocabulary, features, .. } = self.0;
        let parts = cut.rows(vocabulary, features).filter(|_| !cut.has_others(call, &[]))?;
        let of_part = |part: Range<usize>| {
            let kernel = Self(EmbeddingShape { vocabulary: part.len(), ..self.0 });
            let operands = vec![gradient, order, starts.part(part.start, part.len() + 1), table.rows(&part, features)];
            Call { kernel: Arc::new(kernel), operands }
        };
        Some(parts.into_iter().map(of_part).collect())
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.0.gradient_launch(&context.target, call.adds(3))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let views = [binding.view(0)?, binding.view(1)?, binding.view(2)?, binding.view(3)?];
        let class = AdapterClass::for_device(binding.gpu);
        Ok(Box::new(embedding_gradient(binding.gpu, class, self.0, views, call.adds(3))?))
    }
}

/// Length and vocabulary of the input.
fn text(inputs: &Inputs<'_>) -> Result<[usize; 2], GraphError> {
    match inputs.first() {
        ValueShape::Tokens { length, vocabulary } => Ok([length, vocabulary]),
        _ => Err(inputs.refusal("it needs tokens")),
    }
}

impl Op for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn canonical_text(&self, params: &[ParamId], _stats: &[StatId]) -> String {
        let numbers: Vec<_> = params.iter().map(|ParamId(number)| number.to_string()).collect();
        format!("embedding weight {}", numbers.join(" "))
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        let [length, _] = text(inputs)?;
        Ok(ValueShape::Sequence { length, features: self.features })
    }

    fn takes_tokens(&self) -> bool {
        true
    }

    fn params(&self, inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        let [_, vocabulary] = text(inputs)?;
        let (shape, init) = (vec![vocabulary, self.features], ParamInit::Normal { std: 1.0 });
        Ok(vec![ParamSpec { suffix: "weight", shape, role: ParamRole::Weight, init }])
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let kernel = Lookup::new(self.shape(pass.batch(), pass.input_shape(0)));
        let operands = [pass.param(0), pass.input(0), pass.output()];
        pass.push(&format!("{} forward", pass.name()), Arc::new(kernel), operands);
        Ok(Saved::default())
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let shape = self.shape(pass.batch(), pass.input_shape(0));
        let EmbeddingShape { rows, vocabulary, .. } = shape;
        let name = pass.name();
        let (order, starts) = (pass.words("order", rows), pass.words("starts", vocabulary + 1));
        let operands = [pass.input(0), order, starts];
        pass.push(&format!("{name} order"), Arc::new(TokenOrder { rows, vocabulary }), operands);
        let operands = [pass.gradient(), order.read(), starts.read(), pass.param_gradient(0)];
        pass.push(&format!("{name} weight gradient"), Arc::new(TableGradient(shape)), operands);
        Ok(())
    }
}

impl Embedding {
    fn shape(&self, batch: usize, input: ValueShape) -> EmbeddingShape {
        let vocabulary = if let ValueShape::Tokens { vocabulary, .. } = input { vocabulary } else { 0 };
        EmbeddingShape { rows: batch * input.pixels(), features: self.features, vocabulary }
    }
}

/// The layer in files.
pub(super) const LAYERS: &[LayerKind] = &[LayerKind {
    name: "embedding",
    stem: Some("embedding"),
    add: |site, table| {
        let EmbeddingKeys { features, std } = keys(table)?;
        let value = site.graph.embedding(site.input, site.name, features)?;
        if let Some(std) = std {
            if !(std.is_finite() && std >= 0.0) {
                return Err(LayerError::Keys(format!("std: expected a number from 0 on, found {std}")));
            }
            site.graph.set_init(&format!("{}.weight", site.name), ParamInit::Normal { std })?;
        }
        Ok(value)
    },
}];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddingKeys {
    features: usize,
    /// Standard deviation of the initial normals.
    std: Option<f32>,
}

impl Graph {
    /// Adds a token embedding `name` with parameter `name.weight` [vocabulary, features], which starts as standard
    /// normals, as `torch.nn.Embedding` does.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for an input that is not [`ValueShape::Tokens`], [`GraphError::Empty`] for no features,
    /// [`GraphError::TooLarge`] for a table past the kernels, [`GraphError::Name`] for a name taken.
    pub fn embedding(&mut self, input: ValueId, name: &str, features: usize) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(Embedding { features }), name, &[input])
    }
}
