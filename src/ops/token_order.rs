//! Rows by their tokens as a call: what the gradient of an embedding goes by; with the host side of `shaders/token_order.wgsl`.

use crate::{
    gpu::{Access, Dispatch, Element, Gpu, GpuError, KernelSpec, Launch, View, WORD_BYTES, Work},
    graph::{Binding, Call, Kernel, LaunchContext, Record, Tangent},
    kernels::{AdapterClass, Target, index_u32},
};

static TOKEN_ORDER: KernelSpec = KernelSpec {
    entry: "token_order",
    source: concat!(include_str!("../../shaders/token_order.wgsl"), include_str!("../../shaders/shared/index.wgsl"),),
    bindings: &[
        ("tokens", Access::ReadWrite),
        ("keys", Access::ReadWrite),
        ("order", Access::ReadWrite),
        ("starts", Access::ReadWrite),
    ],
    immediate_bytes: 8,
};

pub(super) const SPECS: &[&KernelSpec] = &[&TOKEN_ORDER];

/// The rows in the order of their tokens, and where each token's begin; operands: tokens `[rows]`, order `[rows]`, starts
/// [vocabulary + 1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenOrder {
    /// Tokens of a batch.
    pub rows: usize,
    /// Tokens are below this.
    pub vocabulary: usize,
}

/// What is done one after the other.
const STEPS: usize = 3;

impl TokenOrder {
    /// Rows of the blocks that are sorted by themselves: about as many comparisons then as steps of all searches in other blocks,
    /// and never as many of either as a software adapter ends loops after.
    fn block(self) -> usize {
        (2 * self.rows.isqrt()).next_power_of_two().max(64)
    }

    /// Words that [`TokenOrder::plan`] keeps for itself.
    #[must_use]
    pub fn words(self) -> usize {
        3 * self.rows
    }

    /// What [`TokenOrder::plan`] launches.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn launches_on(self, target: &Target) -> Result<Vec<Launch>, GpuError> {
        let Self { rows, vocabulary } = self;
        let block = self.block();
        let search = |count: usize| 1 + count.next_power_of_two().ilog2() as usize;
        // How many invocations, the rounds of each, and the words that pass.
        let steps: [(usize, usize, usize); STEPS] = [
            (rows, block.min(rows), 3 * rows),
            (rows, rows.div_ceil(block) * search(block), 4 * rows),
            (vocabulary + 1, search(rows), rows + vocabulary + 1),
        ];
        let launch = |(step, (count, rounds, words)): (usize, (usize, usize, usize))| {
            let constants = [("STEP", step as f64), ("BLOCK", block as f64)];
            let work = Work { flops: 0, bytes: words as u64 * WORD_BYTES };
            Ok(target.launch(&TOKEN_ORDER, &constants, count)?.chained(rounds).doing(work))
        };
        steps.into_iter().enumerate().map(launch).collect()
    }

    /// Plans the order.
    ///
    /// Shapes: tokens and order `[rows]`, starts [vocabulary + 1], scratch [`TokenOrder::words`].
    ///
    /// # Errors
    /// [`GpuError::Length`] for lengths that do not fit, [`GpuError::Shape`] past 2^32 of them.
    pub fn plan(self, gpu: &Gpu, [tokens, scratch, order, starts]: [&View; 4]) -> Result<Vec<Dispatch>, GpuError> {
        let kernel = TOKEN_ORDER.entry;
        index_u32(kernel, &[3, self.rows])?;
        index_u32(kernel, &[self.vocabulary])?;
        let lens = [
            ("tokens", tokens, self.rows),
            ("scratch", scratch, self.words()),
            ("order", order, self.rows),
            ("starts", starts, self.vocabulary + 1),
        ];
        lens.into_iter().try_for_each(|(argument, view, len)| view.expect_len(kernel, argument, len))?;
        let sizes = [self.rows, self.vocabulary].map(|size| size as u32);
        let bind = |launch: &Launch| gpu.bind(launch, &[tokens, scratch, order, starts], bytemuck::cast_slice(&sizes));
        self.launches_on(&Target::for_device(gpu))?.iter().map(bind).collect()
    }
}

impl Kernel for TokenOrder {
    fn kind(&self) -> &'static str {
        "token order"
    }

    fn sizes(&self) -> String {
        format!("{} rows, {} tokens", self.rows, self.vocabulary)
    }

    /// Tokens do not depend on the weights.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Constant
    }

    fn flops(&self, _call: &Call) -> u64 {
        0
    }

    fn scratch_words(&self, _class: AdapterClass, _element: Element) -> Result<usize, GpuError> {
        Ok(self.words())
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        self.launches_on(&context.target)
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let scratch = binding.scratch(self.words())?;
        let views = [binding.view(0)?, &scratch, binding.view(1)?, binding.view(2)?];
        Ok(Box::new(self.plan(binding.gpu, views)?))
    }
}
