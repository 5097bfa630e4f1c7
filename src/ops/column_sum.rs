//! Sums over rows as calls: gradients of biases.

use std::{ops::Range, sync::Arc};

use crate::{
    gpu::{Element, GpuError, Launch},
    graph::{Binding, Call, Cut, Kernel, LaunchContext, Record, Tangent},
    kernels::{AdapterClass, column_sum, column_sum_launches, column_sum_scratch_words},
};

/// `output[c] (+)= sum of input[r, c]` over the rows r; operands: input [rows, stride], output `[columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnSums {
    /// Rows.
    pub rows: usize,
    /// Columns in use.
    pub columns: usize,
    /// Elements from one row to the next.
    pub stride: usize,
}

impl ColumnSums {
    fn shape(&self) -> [usize; 3] {
        [self.rows, self.columns, self.stride]
    }
}

impl Kernel for ColumnSums {
    fn kind(&self) -> &'static str {
        "column sum"
    }

    fn sizes(&self) -> String {
        format!("{} x {}", self.rows, self.columns)
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Linear(0)
    }

    fn flops(&self, _call: &Call) -> u64 {
        (self.rows * self.columns) as u64
    }

    /// Where the input lies in parts, each by itself.
    fn cut(&self, call: &Call, cut: &mut dyn Cut) -> Option<Vec<Call>> {
        let [input, output] = call.operands.first_chunk::<2>().copied()?;
        if self.stride != self.columns || cut.has_others(call, &[0]) {
            return None;
        }
        let sums = |columns: Range<usize>| {
            let kernel = Self { rows: self.rows, columns: columns.len(), stride: columns.len() };
            let operands = vec![input.columns(self.rows, &columns), output.part(columns.start, columns.len())];
            Call { kernel: Arc::new(kernel), operands }
        };
        Some(cut.parts(&input, self.columns)?.into_iter().map(sums).collect())
    }

    fn scratch_words(&self, class: AdapterClass, _element: Element) -> Result<usize, GpuError> {
        Ok(column_sum_scratch_words(class, self.shape()))
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        column_sum_launches(&context.target, self.shape(), call.adds(1), context.element)
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let class = AdapterClass::for_device(binding.gpu);
        let scratch = binding.scratch(column_sum_scratch_words(class, self.shape()))?;
        let views = [binding.view(0)?, binding.view(1)?, &scratch];
        Ok(Box::new(column_sum(binding.gpu, class, views, self.shape(), call.adds(1))?))
    }
}
