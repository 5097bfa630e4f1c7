//! The size of a matrix product, and how its operands lie.

use crate::gpu::GpuError;

use super::index_u32;

/// C[m, n] = A[m, k] B[k, n]
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct MatmulShape {
    /// Rows of C.
    pub m: u32,
    /// Columns of C.
    pub n: u32,
    /// Terms of each sum.
    pub k: u32,
}

impl MatmulShape {
    /// # Errors
    /// [`GpuError::Shape`] for an empty side, or an operand past 2^32 elements.
    pub fn new(m: usize, n: usize, k: usize) -> Result<Self, GpuError> {
        let kernel = "matmul";
        if m == 0 || n == 0 || k == 0 {
            let shape = format!("m {m}, n {n}, k {k}");
            return Err(GpuError::Shape { kernel, shape, reason: "a side is empty" });
        }
        for sides in [[m, n], [m, k], [k, n]] {
            index_u32(kernel, &sides)?;
        }
        Ok(Self { m: m as u32, n: n as u32, k: k as u32 })
    }

    /// Multiply-adds, times two.
    #[must_use]
    pub fn flops(&self) -> u64 {
        2 * u64::from(self.m) * u64::from(self.n) * u64::from(self.k)
    }
}

/// How the operands lie, by their use in a linear layer with `weight` [out, in].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatmulLayout {
    /// A [m, k], B [n, k]: output = input weight'
    Forward,
    /// A [m, k], B [k, n]: grad_input = grad_output weight
    DataGradient,
    /// A [k, m], B [k, n]: grad_weight = grad_output' input
    WeightGradient,
}

/// A product: how its operands lie, and its sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatmulProblem {
    /// How A and B lie.
    pub layout: MatmulLayout,
    /// m, n, k.
    pub shape: MatmulShape,
}
