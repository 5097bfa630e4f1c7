//! Token embeddings: a learned vector for each token of a vocabulary.
//!
//! ```text
//! output[n, t] = weight[token[n, t]]
//! ```

use std::{ops::Range, sync::Arc};

use serde::Deserialize;

use crate::{
    gpu::{Access, GpuError, KernelSpec, Launch, View},
    graph::{
        Backward, Binding, Call, Cut, Forward, Graph, GraphError, Inputs, Kernel, LaunchContext, Op, ParamId,
        ParamInit, ParamRole, ParamSpec, Record, Saved, StatId, Tangent, ValueId, ValueShape,
    },
    kernels::{Target, Tree, flag, index_u32},
};

use super::layer::{LayerKind, keys};

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
    bindings: &[("grad_output", Access::Real), ("tokens", Access::ReadWrite), ("grad_weight", Access::ReadWrite)],
    immediate_bytes: 20,
};

pub(super) const SPECS: &[&KernelSpec] = &[&EMBEDDING, &EMBEDDING_GRADIENT];

/// A token embedding; parameter: weight [vocabulary, features].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// Numbers of a vector.
    pub features: usize,
}

/// Vectors of tokens, or the gradient of their table; operands: weight, tokens, output, or the output's gradient, tokens, the
/// weight's gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lookup {
    rows: usize,
    features: usize,
    vocabulary: usize,
    /// The gradient.
    backward: bool,
    /// The tokens of the part of the table that it goes over: all, unless the table is past a binding.
    part: [usize; 2],
}

impl Lookup {
    /// How the sums over rows are shared out: more lanes where one could not do all its rounds on a software adapter.
    fn tree(&self, target: &Target) -> Tree {
        Tree::columns(target.class, self.rows, self.features).within_software_rounds(self.rows)
    }

    fn launch(&self, target: &Target, adds: bool) -> Result<Launch, GpuError> {
        if !self.backward {
            return target.launch(&EMBEDDING, &[], self.rows * self.features);
        }
        let tree = self.tree(target);
        let workgroups = self.part_len() * tree.workgroups(self.features);
        let constants = [flag("ACCUMULATE", adds)];
        tree.launch(target, &EMBEDDING_GRADIENT, &constants, workgroups, tree.chain(self.rows, 1))
    }

    fn part_len(&self) -> usize {
        self.part[1] - self.part[0]
    }

    /// Elements of each operand.
    fn lens(&self) -> [usize; 3] {
        let (vectors, table) = (self.rows * self.features, self.part_len() * self.features);
        if self.backward { [vectors, self.rows, table] } else { [table, self.rows, vectors] }
    }
}

impl Kernel for Lookup {
    fn kind(&self) -> &'static str {
        if self.backward { "embedding gradient" } else { "embedding" }
    }

    fn sizes(&self) -> String {
        format!("{} rows of {} from {}", self.rows, self.features, self.vocabulary)
    }

    /// Linear in the table forward, in the output's gradient backward.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Linear(0)
    }

    fn flops(&self, _call: &Call) -> u64 {
        if self.backward { (self.rows * self.features) as u64 } else { 0 }
    }

    /// Over parts of the table.
    fn cut(&self, call: &Call, cut: &mut dyn Cut) -> Option<Vec<Call>> {
        let (table, parts) = (if self.backward { 2 } else { 0 }, cut.rows(self.vocabulary, self.features)?);
        let of_part = |tokens: Range<usize>| {
            let mut operands = call.operands.clone();
            operands[table] = operands.get(table)?.rows(&tokens, self.features);
            Some(Call { kernel: Arc::new(Self { part: [tokens.start, tokens.end], ..*self }), operands })
        };
        if cut.has_others(call, &[]) { None } else { parts.into_iter().map(of_part).collect() }
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.launch(&context.target, call.adds(2))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let launch = self.launch(&Target::for_device(binding.gpu), call.adds(2))?;
        let views: [&View; 3] = [binding.view(0)?, binding.view(1)?, binding.view(2)?];
        let arguments = ["vectors or table", "tokens", "output"];
        for ((view, len), argument) in views.iter().zip(self.lens()).zip(arguments) {
            view.expect_len(launch.spec.entry, argument, len)?;
        }
        index_u32(launch.spec.entry, &[self.rows, self.features])?;
        index_u32(launch.spec.entry, &[self.part_len(), self.features])?;
        let sizes = [self.rows, self.features, self.vocabulary, self.part[0], self.part_len()].map(|size| size as u32);
        Ok(Box::new(binding.gpu.bind(&launch, &views, bytemuck::cast_slice(&sizes))?))
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
        let (shape, init) = (vec![vocabulary, self.features], ParamInit::Uniform { fan_in: 1 });
        Ok(vec![ParamSpec { suffix: "weight", shape, role: ParamRole::Weight, init }])
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let kernel = self.lookup(pass.batch(), pass.input_shape(0), false);
        let operands = [pass.param(0), pass.input(0), pass.output()];
        pass.push(&format!("{} forward", pass.name()), Arc::new(kernel), operands);
        Ok(Saved::default())
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let kernel = self.lookup(pass.batch(), pass.input_shape(0), true);
        let operands = [pass.gradient(), pass.input(0), pass.param_gradient(0)];
        pass.push(&format!("{} weight gradient", pass.name()), Arc::new(kernel), operands);
        Ok(())
    }
}

impl Embedding {
    fn lookup(&self, batch: usize, input: ValueShape, backward: bool) -> Lookup {
        let vocabulary = if let ValueShape::Tokens { vocabulary, .. } = input { vocabulary } else { 0 };
        Lookup { rows: batch * input.pixels(), features: self.features, vocabulary, backward, part: [0, vocabulary] }
    }
}

/// The layer in files.
pub(super) const LAYERS: &[LayerKind] = &[LayerKind {
    name: "embedding",
    stem: Some("embedding"),
    add: |site, table| {
        let EmbeddingKeys { features } = keys(table)?;
        Ok(site.graph.embedding(site.input, site.name, features)?)
    },
}];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddingKeys {
    features: usize,
}

impl Graph {
    /// Adds a token embedding `name` with parameter `name.weight` [vocabulary, features], which starts uniform in +-1. (PyTorch's
    /// starts as standard normals.) Its gradient reads every token once for each token of the vocabulary and 32 features: made for
    /// vocabularies of characters, correct for any.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for an input that is not [`ValueShape::Tokens`], [`GraphError::Empty`] for no features,
    /// [`GraphError::TooLarge`] for a table past the kernels, [`GraphError::Name`] for a name taken.
    pub fn embedding(&mut self, input: ValueId, name: &str, features: usize) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(Embedding { features }), name, &[input])
    }
}
