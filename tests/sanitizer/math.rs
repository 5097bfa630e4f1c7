//! WGSL's functions of numbers: those that kernels use.

use half::f16;
use naga::{MathFunction, Scalar, ScalarKind, TypeInner};

use crate::{
    Fault,
    value::{Words, float, rounded, scalar_of, try_each_word},
};

/// A function of the first argument's type and all arguments.
pub(crate) fn function(fun: MathFunction, ty: &TypeInner, arguments: &[Words]) -> Result<Words, Fault> {
    let words = |place: usize| arguments.get(place).ok_or_else(|| Fault::unknown("an argument"));
    let first = words(0)?;
    match fun {
        MathFunction::Dot => return Ok(Words::from_slice(&[dot(scalar_of(ty)?, first, words(1)?)])),
        MathFunction::Length => {
            let sum: f32 = first.iter().map(|word| float(*word) * float(*word)).sum();
            return Ok(Words::from_slice(&[sum.sqrt().to_bits()]));
        }
        MathFunction::Transpose => return transposed(ty, first),
        MathFunction::Unpack2x16float => {
            let half = |bits: u32| f16::from_bits(bits as u16).to_f32().to_bits();
            return Ok(Words::from_slice(&[half(first[0]), half(first[0] >> 16)]));
        }
        MathFunction::Pack2x16float => {
            let half = |word: u32| u32::from(f16::from_f32(float(word)).to_bits());
            return Ok(Words::from_slice(&[half(first[0]) | half(first[1]) << 16]));
        }
        _ => {}
    }
    let scalar = scalar_of(ty)?;
    let each = |place: usize| {
        let at = |argument: &Words| argument[place % argument.len()];
        let own: Words = arguments.iter().map(at).collect();
        if scalar.kind == ScalarKind::Float {
            of_floats(fun, scalar, &own)
        } else {
            of_integers(fun, scalar.kind, &own)
        }
    };
    try_each_word(first.len(), each)
}

fn dot(scalar: Scalar, left: &Words, right: &Words) -> u32 {
    let pairs = left.iter().zip(right);
    if scalar.kind != ScalarKind::Float {
        return pairs.fold(0, |sum: u32, (left, right)| sum.wrapping_add(left.wrapping_mul(*right)));
    }
    rounded(pairs.map(|(left, right)| float(*left) * float(*right)).sum(), scalar)
}

fn transposed(ty: &TypeInner, words: &Words) -> Result<Words, Fault> {
    let TypeInner::Matrix { columns, rows, .. } = ty else { return Err(Fault::unknown("transpose of no matrix")) };
    let (columns, rows) = (*columns as usize, *rows as usize);
    Ok((0..columns * rows).map(|place| words[place % columns * rows + place / columns]).collect())
}

fn of_floats(fun: MathFunction, scalar: Scalar, words: &Words) -> Result<u32, Fault> {
    let [x, y, z] = [0, 1, 2].map(|place| words.get(place).map_or(0.0, |word| float(*word)));
    Ok(rounded(
        match fun {
            MathFunction::Abs => x.abs(),
            MathFunction::Min => x.min(y),
            MathFunction::Max => x.max(y),
            MathFunction::Clamp => x.max(y).min(z),
            MathFunction::Saturate => x.clamp(0.0, 1.0),
            MathFunction::Cos => x.cos(),
            MathFunction::Sin => x.sin(),
            MathFunction::Tanh => x.tanh(),
            MathFunction::Ceil => x.ceil(),
            MathFunction::Floor => x.floor(),
            MathFunction::Round => x.round_ties_even(),
            MathFunction::Fract => x - x.floor(),
            MathFunction::Trunc => x.trunc(),
            MathFunction::Exp => x.exp(),
            MathFunction::Exp2 => x.exp2(),
            MathFunction::Log => x.ln(),
            MathFunction::Log2 => x.log2(),
            MathFunction::Pow => x.powf(y),
            MathFunction::Sign if x == 0.0 => 0.0,
            MathFunction::Sign => x.signum(),
            MathFunction::Fma => x.mul_add(y, z),
            MathFunction::Mix => x * (1.0 - z) + y * z,
            MathFunction::Step => f32::from(u8::from(x <= y)),
            MathFunction::Sqrt => x.sqrt(),
            MathFunction::InverseSqrt => 1.0 / x.sqrt(),
            other => return Err(Fault::unknown(format!("{other:?} of floats"))),
        },
        scalar,
    ))
}

fn of_integers(fun: MathFunction, kind: ScalarKind, words: &Words) -> Result<u32, Fault> {
    let [x, y, z] = [0, 1, 2].map(|place| words.get(place).copied().unwrap_or(0));
    if kind == ScalarKind::Sint {
        let [x, y, z] = [x, y, z].map(|word| word as i32);
        return Ok(match fun {
            MathFunction::Abs => x.wrapping_abs(),
            MathFunction::Min => x.min(y),
            MathFunction::Max => x.max(y),
            MathFunction::Clamp => x.max(y).min(z),
            MathFunction::Sign => x.signum(),
            other => return Err(Fault::unknown(format!("{other:?} of i32"))),
        } as u32);
    }
    Ok(match fun {
        MathFunction::Abs => x,
        MathFunction::Min => x.min(y),
        MathFunction::Max => x.max(y),
        MathFunction::Clamp => x.max(y).min(z),
        MathFunction::CountOneBits => x.count_ones(),
        MathFunction::CountLeadingZeros => x.leading_zeros(),
        MathFunction::CountTrailingZeros => x.trailing_zeros(),
        MathFunction::ReverseBits => x.reverse_bits(),
        MathFunction::FirstLeadingBit => 31_u32.wrapping_sub(x.leading_zeros()),
        other => return Err(Fault::unknown(format!("{other:?} of u32"))),
    })
}
