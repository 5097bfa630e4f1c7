//! The parts of a model that noise and measurements tell apart: blocks of layers, and projections packed into one tensor.

use std::ops::Range;

use super::{Graph, GraphError, Param};

impl Graph {
    /// Parameters that are added from here on belong to the block of this name, such as `h.0`, until [`Graph::end_block`] or
    /// the next block. Blocks are numbered in the order of their beginnings; one that was begun before goes on.
    pub fn begin_block(&mut self, name: &str) {
        let number = self.blocks.iter().position(|block| block == name).unwrap_or(self.blocks.len());
        if number == self.blocks.len() {
            self.blocks.push(name.to_owned());
        }
        self.open_block = Some(number);
    }

    /// Parameters that are added from here on belong to no block.
    pub fn end_block(&mut self) {
        self.open_block = None;
    }

    /// Names of the blocks; [`Param::block`] is a number in this list.
    #[must_use]
    pub fn blocks(&self) -> &[String] {
        &self.blocks
    }

    /// Says that a parameter packs projections, such as q, k and v of attention in a weight [3 C, C] or a bias [3 C], one after
    /// the other, each of as many rows.
    ///
    /// # Errors
    /// [`GraphError::Param`] for a name that no parameter has, [`GraphError::Projections`] where the rows are no multiple of the
    /// names.
    pub fn set_projections(&mut self, param: &str, names: &[&'static str]) -> Result<(), GraphError> {
        let unknown = || GraphError::Param { name: param.to_owned() };
        let found = self.params.iter_mut().find(|other| other.name == param).ok_or_else(unknown)?;
        let (rows, parts) = (found.rows(), names.len());
        if !rows.is_multiple_of(parts.max(1)) {
            return Err(GraphError::Projections { name: param.to_owned(), rows, parts });
        }
        found.projections = names.to_vec();
        Ok(())
    }
}

impl Param {
    /// Rows: the first side of its shape.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The elements of each projection that it packs, in order; all of them as one part where it packs none.
    #[must_use]
    pub fn parts(&self) -> Vec<Range<usize>> {
        let count = self.projections.len().max(1);
        let len = self.elements() / count;
        (0..count).map(|part| part * len..(part + 1) * len).collect()
    }
}
