//! The trial of a matrix product.

use crate::gpu::{GpuError, Grid};

use super::{
    super::{Ending, MatmulLayout, MatmulShape},
    Trial, from_eighths, from_sums, operand,
};

/// How the operands' contiguous extents divide.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Extents {
    /// Of A and B: multiples of 8, else odd.
    pub(in crate::kernels) aligned: [bool; 2],
    /// Rows of the result are whole vec4s.
    pub(in crate::kernels) whole: bool,
}

/// A product of tiles of `sides`, whose extents divide so.
pub(in crate::kernels) fn matmul_trial(
    sides: [usize; 2],
    layout: MatmulLayout,
    Extents { aligned, whole }: Extents,
    ending: Ending,
) -> Result<Trial, GpuError> {
    let (a_transposed, b_transposed) = (layout == MatmulLayout::WeightGradient, layout == MatmulLayout::Forward);
    let a_odd = usize::from(!aligned[0]);
    // One tile and part of another; depth for four rounds, the last not whole.
    let m = sides[0] + 8 + if a_transposed { a_odd } else { 1 };
    let n = sides[1] + 8;
    let n = match (b_transposed, aligned[1], whole) {
        (false, true, _) => n,
        (_, _, true) => n + 4,
        (_, _, false) => n + 1,
    };
    let k = 104 + if a_transposed { 1 } else { a_odd };
    let (a, b) = (operand(1, m * k), operand(2, k * n));
    let mut sums = vec![0; m * n];
    for (a, sums) in a.chunks(k).zip(sums.chunks_mut(n)) {
        for (a, b) in a.iter().zip(b.chunks(n)) {
            sums.iter_mut().zip(b).for_each(|(sum, b)| *sum += a * b);
        }
    }
    let a = if a_transposed { transposed(&a, k) } else { a };
    let b = if b_transposed { transposed(&b, n) } else { b };
    // What computes parts has neither an epilogue nor adds to anything.
    let parts = if ending == Ending::PLAIN { 2 } else { 1 };
    let shape = MatmulShape::new(m, n, k)?;
    Ok(Trial {
        a: from_eighths(a),
        b: from_eighths(b),
        sums: from_sums(sums),
        columns: [n; 2],
        parts,
        grid: Grid([n.div_ceil(sides[1]) as u32, m.div_ceil(sides[0]) as u32, parts as u32]),
        immediates: bytemuck::bytes_of(&shape).to_vec(),
    })
}

/// A matrix with `columns`, column by column.
fn transposed(values: &[i32], columns: usize) -> Vec<i32> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}
