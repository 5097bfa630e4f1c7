//! Operators and casts, scalar by scalar.

use naga::{BinaryOperator, Bytes, RelationalFunction, Scalar, ScalarKind, TypeInner, UnaryOperator};

use crate::{
    Fault,
    value::{Words, float, rounded, scalar_of, try_each_word},
};

fn wrong(what: impl std::fmt::Debug) -> Fault {
    Fault::unknown(format!("{what:?}"))
}

pub(crate) fn unary(op: UnaryOperator, scalar: Scalar, words: &Words) -> Result<Words, Fault> {
    let one = |word: u32| match (op, scalar.kind) {
        (UnaryOperator::Negate, ScalarKind::Float) => Ok((-float(word)).to_bits()),
        (UnaryOperator::Negate, _) => Ok(word.wrapping_neg()),
        (UnaryOperator::LogicalNot, ScalarKind::Bool) => Ok(u32::from(word == 0)),
        (UnaryOperator::BitwiseNot, ScalarKind::Sint | ScalarKind::Uint) => Ok(!word),
        other => Err(wrong(other)),
    };
    try_each_word(words.len(), |place| one(words[place]))
}

/// Sides of vectors and matrices, scalars beside vectors, and products of matrices.
pub(crate) fn binary(op: BinaryOperator, types: [&TypeInner; 2], [left, right]: [&Words; 2]) -> Result<Words, Fault> {
    let scalar = scalar_of(types[0])?;
    if op == BinaryOperator::Multiply
        && let Some(sides) = product_sides(types)
    {
        return Ok(product(sides, [left, right], scalar));
    }
    let count = left.len().max(right.len());
    let at = |words: &Words, i: usize| if words.len() == 1 { words[0] } else { words[i] };
    try_each_word(count, |i| operator(op, scalar, at(left, i), at(right, i)))
}

/// Rows, terms and columns of what is a product of a matrix.
fn product_sides(types: [&TypeInner; 2]) -> Option<[usize; 3]> {
    match types {
        [TypeInner::Matrix { columns, rows, .. }, TypeInner::Vector { .. }] => {
            Some([*rows as usize, *columns as usize, 1])
        }
        [TypeInner::Vector { size, .. }, TypeInner::Matrix { columns, .. }] => {
            Some([1, *size as usize, *columns as usize])
        }
        [TypeInner::Matrix { columns: terms, rows, .. }, TypeInner::Matrix { columns, .. }] => {
            Some([*rows as usize, *terms as usize, *columns as usize])
        }
        _ => None,
    }
}

fn product([rows, terms, columns]: [usize; 3], [left, right]: [&Words; 2], scalar: Scalar) -> Words {
    let sum = |place: usize| {
        let (column, row) = (place / rows, place % rows);
        let term = |k: usize| float(left[k * rows + row]) * float(right[column * terms + k]);
        rounded((0..terms).map(term).sum(), scalar)
    };
    (0..rows * columns).map(sum).collect()
}

fn operator(op: BinaryOperator, scalar: Scalar, left: u32, right: u32) -> Result<u32, Fault> {
    match op {
        BinaryOperator::And => return Ok(left & right),
        BinaryOperator::InclusiveOr => return Ok(left | right),
        BinaryOperator::ExclusiveOr => return Ok(left ^ right),
        BinaryOperator::LogicalAnd => return Ok(u32::from(left != 0 && right != 0)),
        BinaryOperator::LogicalOr => return Ok(u32::from(left != 0 || right != 0)),
        BinaryOperator::ShiftLeft => return Ok(left << (right % 32)),
        BinaryOperator::ShiftRight if scalar.kind == ScalarKind::Sint => {
            return Ok((left as i32 >> (right % 32)) as u32);
        }
        BinaryOperator::ShiftRight => return Ok(left >> (right % 32)),
        _ => {}
    }
    match scalar.kind {
        ScalarKind::Float => of_floats(op, float(left), float(right), scalar),
        ScalarKind::Sint => of_integers(op, true, left, right),
        ScalarKind::Uint => of_integers(op, false, left, right),
        ScalarKind::Bool => match op {
            BinaryOperator::Equal => Ok(u32::from(left == right)),
            BinaryOperator::NotEqual => Ok(u32::from(left != right)),
            other => Err(wrong(other)),
        },
        other => Err(wrong(other)),
    }
}

/// A comparison.
fn compared<T: PartialOrd>(op: BinaryOperator, left: T, right: T) -> Option<u32> {
    Some(u32::from(match op {
        BinaryOperator::Equal => left == right,
        BinaryOperator::NotEqual => left != right,
        BinaryOperator::Less => left < right,
        BinaryOperator::LessEqual => left <= right,
        BinaryOperator::Greater => left > right,
        BinaryOperator::GreaterEqual => left >= right,
        _ => return None,
    }))
}

fn of_floats(op: BinaryOperator, left: f32, right: f32, scalar: Scalar) -> Result<u32, Fault> {
    if let Some(found) = compared(op, left, right) {
        return Ok(found);
    }
    let found = match op {
        BinaryOperator::Add => left + right,
        BinaryOperator::Subtract => left - right,
        BinaryOperator::Multiply => left * right,
        BinaryOperator::Divide => left / right,
        BinaryOperator::Modulo => left % right,
        other => return Err(wrong(other)),
    };
    Ok(rounded(found, scalar))
}

/// Sums and products have the same bits with and without signs. WGSL divides by 0, or past the range, to the dividend; then nothing
/// remains.
fn of_integers(op: BinaryOperator, is_signed: bool, left: u32, right: u32) -> Result<u32, Fault> {
    let [x, y] = [left, right].map(|word| word as i32);
    let order = if is_signed { compared(op, x, y) } else { compared(op, left, right) };
    if let Some(found) = order {
        return Ok(found);
    }
    Ok(match op {
        BinaryOperator::Add => left.wrapping_add(right),
        BinaryOperator::Subtract => left.wrapping_sub(right),
        BinaryOperator::Multiply => left.wrapping_mul(right),
        BinaryOperator::Divide if is_signed => x.checked_div(y).unwrap_or(x) as u32,
        BinaryOperator::Divide => left.checked_div(right).unwrap_or(left),
        BinaryOperator::Modulo if is_signed => x.checked_rem(y).unwrap_or(0) as u32,
        BinaryOperator::Modulo => left.checked_rem(right).unwrap_or(0),
        other => return Err(wrong(other)),
    })
}

pub(crate) fn relational(fun: RelationalFunction, words: &Words) -> Words {
    let each = |holds: fn(f32) -> bool| words.iter().map(|word| u32::from(holds(float(*word)))).collect();
    match fun {
        RelationalFunction::All => Words::from_slice(&[u32::from(words.iter().all(|word| *word != 0))]),
        RelationalFunction::Any => Words::from_slice(&[u32::from(words.iter().any(|word| *word != 0))]),
        RelationalFunction::IsNan => each(f32::is_nan),
        RelationalFunction::IsInf => each(f32::is_infinite),
    }
}

/// A scalar as one of another kind: converted, or where no width is given its bits.
pub(crate) fn cast(word: u32, from: Scalar, to: ScalarKind, width: Option<Bytes>) -> u32 {
    let Some(width) = width else { return word };
    let value = match from.kind {
        ScalarKind::Float => f64::from(float(word)),
        ScalarKind::Sint => f64::from(word as i32),
        _ => f64::from(word),
    };
    match (to, from.kind) {
        (ScalarKind::Bool, _) => u32::from(value != 0.0),
        (ScalarKind::Float, _) => rounded(value as f32, Scalar { kind: to, width }),
        (_, ScalarKind::Sint | ScalarKind::Uint | ScalarKind::Bool) => word,
        (ScalarKind::Sint, _) => value as i32 as u32,
        _ => value as u32,
    }
}
