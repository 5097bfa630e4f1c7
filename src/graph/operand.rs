//! The tensors that calls read and write.

use std::ops::Range;

use crate::gpu::{Element, WORD_BYTES};

use super::{ParamId, SlotId, StatId};

/// What is known of a tensor in the activation arena.
#[derive(Clone, Debug)]
pub struct Slot {
    /// For messages.
    pub name: String,
    /// Elements.
    pub len: usize,
    /// How they are stored.
    pub element: Element,
}

impl Slot {
    /// Size in words.
    #[must_use]
    pub fn words(&self) -> usize {
        self.element.words(self.len)
    }
}

/// A tensor of the data set on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataTensor {
    /// [samples, channels, height, width] bytes, four to a word, f32 or tokens
    Samples,
    /// `[samples]`, classes; [samples, positions], tokens; or [samples, width], f32
    Targets,
    /// `[positions]`, where in samples and targets each position of the epoch lies
    Indices,
    /// `[positions]`, the number in the data set of each position's sample
    Ids,
    /// [channels, 2], a scale and a shift
    Normalisation,
}

/// Any tensor that a call can read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tensor {
    /// In the activation arena.
    Slot(SlotId),
    /// In `weights_eff`.
    Weight(ParamId),
    /// In `grads`.
    Grad(ParamId),
    /// In the direction that a product with the Hessian takes.
    Direction(ParamId),
    /// In the product with the Hessian.
    Product(ParamId),
    /// Running statistics.
    Stat(StatId),
    /// Of the data set.
    Data(DataTensor),
    /// The metrics ring, [slots, 2].
    Metrics,
    /// The gradients' scaling.
    Scaling,
}

impl Tensor {
    pub(super) fn slot(self) -> Option<SlotId> {
        if let Self::Slot(slot) = self { Some(slot) } else { None }
    }
}

/// What a call does with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperandAccess {
    /// It reads it.
    Read,
    /// It writes all of it and reads nothing of what was there.
    Write,
    /// It adds to what is there, or changes it otherwise.
    Add,
}

impl OperandAccess {
    /// [`OperandAccess::Add`] where something is there already, else [`OperandAccess::Write`].
    #[must_use]
    pub fn result(adds: bool) -> Self {
        if adds { Self::Add } else { Self::Write }
    }

    /// Whether it changes the operand.
    #[must_use]
    pub fn writes(self) -> bool {
        self != Self::Read
    }
}

/// A tensor as a call uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Which.
    pub tensor: Tensor,
    /// First element of it that the call touches: 0, or where a part begins.
    pub start: usize,
    /// Elements that the call touches; 0 where only those of a batch's samples are, which the call's kernel counts.
    pub len: usize,
    /// How they are stored.
    pub element: Element,
    /// What happens to it.
    pub access: OperandAccess,
}

impl Operand {
    /// The same tensor, read.
    #[must_use]
    pub fn read(self) -> Self {
        Self { access: OperandAccess::Read, ..self }
    }

    /// The same tensor as a result, which adds to what is there or not.
    #[must_use]
    pub fn result(self, adds: bool) -> Self {
        Self { access: OperandAccess::result(adds), ..self }
    }

    /// `len` elements from `start` on, a multiple of 128, so that parts are aligned however they are stored.
    #[must_use]
    pub fn part(self, start: usize, len: usize) -> Self {
        Self { start: self.start + start, len, ..self }
    }

    /// Of an operand [rows, columns] that lies in parts, the part of these columns.
    #[must_use]
    pub fn columns(self, rows: usize, columns: &Range<usize>) -> Self {
        self.part(rows * columns.start, rows * columns.len())
    }

    /// Of an operand [rows, columns] that lies row by row, these rows.
    #[must_use]
    pub fn rows(self, rows: &Range<usize>, columns: usize) -> Self {
        self.part(rows.start * columns, rows.len() * columns)
    }

    /// The operand as the result of one of several calls that add up, which adds to what those before it left.
    #[must_use]
    pub fn term(self, is_first: bool) -> Self {
        if is_first { self } else { Self { access: OperandAccess::Add, ..self } }
    }

    /// Its slot in the activation arena, where it lies there.
    #[must_use]
    pub fn slot(&self) -> Option<SlotId> {
        self.tensor.slot()
    }

    /// Whether the call adds to what is there.
    #[must_use]
    pub fn adds(&self) -> bool {
        self.access == OperandAccess::Add
    }

    /// Its bytes, once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.element.words(self.len) as u64 * WORD_BYTES
    }

    /// Bytes read and written.
    pub(super) fn traffic(&self) -> u64 {
        if self.adds() { 2 * self.bytes() } else { self.bytes() }
    }
}
