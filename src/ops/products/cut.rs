//! A matrix product over parts of the columns of a layer's outputs, whose weight or whose outputs are past a binding.

use std::{ops::Range, sync::Arc};

use crate::{
    gpu::Limits,
    graph::{Call, Cut, CutColumns, Operand},
    kernels::{Epilogue, MatmulLayout},
};

use super::{A, AUX, C, MatrixProduct};

/// The layer that a product is of: outputs [rows, outputs] at `place`, weight [outputs, inputs].
struct LayerSides {
    place: usize,
    rows: usize,
    outputs: usize,
    inputs: usize,
}

impl MatrixProduct {
    fn layer(&self) -> LayerSides {
        let [m, n, k] = self.shape;
        let (place, [rows, outputs, inputs]) = match self.layout {
            MatmulLayout::Forward => (C, [m, n, k]),
            MatmulLayout::DataGradient => (A, [m, k, n]),
            MatmulLayout::WeightGradient => (A, [k, m, n]),
        };
        LayerSides { place, rows, outputs, inputs }
    }

    pub(super) fn cut_columns(&self, limits: Limits) -> Option<CutColumns> {
        let LayerSides { place, rows, outputs, inputs } = self.layer();
        CutColumns::new(place, outputs, rows.max(inputs), limits)
    }

    /// The product over parts of the outputs; none where other operands lie in parts, or a pre-activation is kept, whose
    /// readers know of none.
    pub(super) fn by_parts(&self, call: &Call, cut: &dyn Cut) -> Option<Vec<Call>> {
        let LayerSides { place, outputs, .. } = self.layer();
        let keeps = matches!(self.epilogue, Epilogue::BiasActivation { store_pre: true, .. });
        if keeps || cut.has_others(call, &[place]) {
            return None;
        }
        let parts = cut.parts(call.operand(place)?, outputs)?;
        parts.into_iter().map(|columns| self.part(call, &columns)).collect()
    }

    fn part(&self, call: &Call, columns: &Range<usize>) -> Option<Call> {
        let LayerSides { rows, inputs, .. } = self.layer();
        let [a, b, c] = call.operands.first_chunk::<3>().copied()?;
        let mut aux: Option<Operand> = call.operand(AUX).copied();
        let len = columns.len();
        let (shape, operands) = match self.layout {
            MatmulLayout::Forward => {
                aux = aux.map(|bias| bias.part(columns.start, len));
                ([rows, len, inputs], [a, b.rows(columns, inputs), c.columns(rows, columns)])
            }
            MatmulLayout::DataGradient => {
                ([rows, inputs, len], [a.columns(rows, columns), b.rows(columns, inputs), c.term(columns.start == 0)])
            }
            MatmulLayout::WeightGradient => {
                ([len, inputs, rows], [a.columns(rows, columns), b, c.rows(columns, inputs)])
            }
        };
        let operands = operands.into_iter().chain(aux).collect();
        Some(Call { kernel: Arc::new(Self { shape, ..*self }), operands })
    }
}
