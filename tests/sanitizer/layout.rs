//! How values lie in memory and, flat, in words: a word for each scalar, f16 as f32.

use half::f16;
use naga::{ArraySize, Handle, Module, Scalar, ScalarKind, Type, TypeInner, proc::IndexableLength};

use crate::{Fault, value::Words};

/// Bytes of a cooperative matrix in a variable: its number.
const MATRIX_BYTES: u32 = 4;

/// A scalar within a value: where, in bytes from the value's first, and which.
type Leaf = (u32, Scalar);

/// Elements of an array of a size that is known, by itself or by an override.
pub(crate) fn array_len(module: &Module, size: ArraySize) -> Result<u32, Fault> {
    match size.resolve(module.to_ctx()) {
        Ok(IndexableLength::Known(len)) => Ok(len),
        other => Err(Fault::unknown(format!("the size of an array: {other:?}"))),
    }
}

/// Words of a value.
pub(crate) fn word_count(module: &Module, ty: &TypeInner) -> Result<usize, Fault> {
    let words = |handle: Handle<Type>| word_count(module, &module.types[handle].inner);
    Ok(match ty {
        TypeInner::Scalar(_) | TypeInner::CooperativeMatrix { .. } => 1,
        TypeInner::Vector { size, .. } => *size as usize,
        TypeInner::Matrix { columns, rows, .. } => *columns as usize * *rows as usize,
        TypeInner::Array { base, size, .. } => array_len(module, *size)? as usize * words(*base)?,
        TypeInner::Struct { members, .. } => {
            members.iter().map(|member| words(member.ty)).sum::<Result<usize, Fault>>()?
        }
        other => return Err(Fault::unknown(format!("{other:?}"))),
    })
}

/// What an array holds: the scalar, and how many of them an element has; nothing for what is no array.
pub(crate) fn element(module: &Module, ty: Handle<Type>) -> Option<(Scalar, u32)> {
    let TypeInner::Array { base, .. } = module.types[ty].inner else { return None };
    match module.types[base].inner {
        TypeInner::Scalar(scalar) => Some((scalar, 1)),
        TypeInner::Vector { size, scalar } => Some((scalar, size as u32)),
        TypeInner::Matrix { columns, rows, scalar } => Some((scalar, columns as u32 * rows as u32)),
        _ => None,
    }
}

/// Bytes from one element of a value to the next, the elements being columns of a matrix, scalars of a vector or those of an array.
pub(crate) fn stride(ty: &TypeInner) -> Result<u32, Fault> {
    Ok(match ty {
        TypeInner::Vector { scalar, .. } => u32::from(scalar.width),
        TypeInner::Matrix { rows, scalar, .. } => column_stride(*rows as u32, *scalar),
        TypeInner::Array { stride, .. } => *stride,
        other => return Err(Fault::unknown(format!("elements of {other:?}"))),
    })
}

fn column_stride(rows: u32, scalar: Scalar) -> u32 {
    rows.next_power_of_two() * u32::from(scalar.width)
}

/// Bytes of a value in a variable.
pub(crate) fn size(module: &Module, ty: &TypeInner) -> Result<u32, Fault> {
    Ok(match ty {
        TypeInner::CooperativeMatrix { .. } => MATRIX_BYTES,
        TypeInner::Array { size, stride, .. } => array_len(module, *size)? * stride,
        TypeInner::Struct { span, .. } => *span,
        other => {
            let leaves = leaves(module, other)?;
            leaves.last().map_or(0, |(offset, scalar)| offset + u32::from(scalar.width))
        }
    })
}

/// The scalars of a value in the order of its words; a cooperative matrix counts as one of 32 bits.
pub(crate) fn leaves(module: &Module, ty: &TypeInner) -> Result<Vec<Leaf>, Fault> {
    let mut found = Vec::new();
    collect(module, ty, 0, &mut found)?;
    Ok(found)
}

fn collect(module: &Module, ty: &TypeInner, at: u32, found: &mut Vec<Leaf>) -> Result<(), Fault> {
    match ty {
        TypeInner::Scalar(scalar) => found.push((at, *scalar)),
        TypeInner::CooperativeMatrix { .. } => found.push((at, Scalar::U32)),
        TypeInner::Vector { size, scalar } => {
            found.extend((0..*size as u32).map(|i| (at + i * u32::from(scalar.width), *scalar)));
        }
        TypeInner::Matrix { columns, rows, scalar } => {
            for column in 0..*columns as u32 {
                let start = at + column * column_stride(*rows as u32, *scalar);
                found.extend((0..*rows as u32).map(|i| (start + i * u32::from(scalar.width), *scalar)));
            }
        }
        TypeInner::Array { base, size, stride } => {
            for i in 0..array_len(module, *size)? {
                collect(module, &module.types[*base].inner, at + i * stride, found)?;
            }
        }
        TypeInner::Struct { members, .. } => {
            for member in members {
                collect(module, &module.types[member.ty].inner, at + member.offset, found)?;
            }
        }
        other => return Err(Fault::unknown(format!("{other:?} in memory"))),
    }
    Ok(())
}

/// A scalar's word, of its bytes.
pub(crate) fn word(bytes: &[u8], scalar: Scalar) -> Result<u32, Fault> {
    match (scalar.kind, bytes) {
        (ScalarKind::Float, [a, b]) => Ok(f16::from_le_bytes([*a, *b]).to_f32().to_bits()),
        (_, [a, b, c, d]) => Ok(u32::from_le_bytes([*a, *b, *c, *d])),
        (ScalarKind::Bool, [a]) => Ok(u32::from(*a)),
        _ => Err(Fault::unknown(format!("{scalar:?} in memory"))),
    }
}

/// A scalar's bytes, of its word.
pub(crate) fn put_word(bytes: &mut [u8], scalar: Scalar, word: u32) -> Result<(), Fault> {
    match (scalar.kind, bytes) {
        (ScalarKind::Float, [a, b]) => [*a, *b] = f16::from_f32(f32::from_bits(word)).to_le_bytes(),
        (_, [a, b, c, d]) => [*a, *b, *c, *d] = word.to_le_bytes(),
        (ScalarKind::Bool, [a]) => *a = u8::from(word != 0),
        _ => return Err(Fault::unknown(format!("{scalar:?} in memory"))),
    }
    Ok(())
}

/// Zeros of a type.
pub(crate) fn zeros(module: &Module, ty: &TypeInner) -> Result<Words, Fault> {
    Ok(Words::from_elem(0, word_count(module, ty)?))
}
