//! What expressions come to.

use std::convert::Infallible;

use naga::{Scalar, TypeInner};
use smallvec::SmallVec;

use crate::Fault;

/// A value's scalars: bits of f32 (of f16 too), of i32 and u32, 0 or 1 for a bool; a cooperative matrix is its number.
pub(crate) type Words = SmallVec<[u32; 4]>;

/// So many words, each by its place. Up to four without a loop that grows.
pub(crate) fn try_each_word<E>(count: usize, mut word: impl FnMut(usize) -> Result<u32, E>) -> Result<Words, E> {
    if count > 4 {
        return (0..count).map(word).collect();
    }
    let mut found = [0; 4];
    for (place, out) in found[..count].iter_mut().enumerate() {
        *out = word(place)?;
    }
    Ok(Words::from_buf_and_len(found, count))
}

/// As [`try_each_word`], where every word is known.
pub(crate) fn each_word(count: usize, mut word: impl FnMut(usize) -> u32) -> Words {
    let Ok(words) = try_each_word(count, |place| Ok::<_, Infallible>(word(place)));
    words
}

/// A word as the f32 that it is.
pub(crate) fn float(word: u32) -> f32 {
    f32::from_bits(word)
}

/// What a pointer points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    /// A variable of an invocation, by its place among those that live.
    Local(u32),
    /// A variable of the workgroup, by its place.
    Shared(u32),
    /// A binding.
    Buffer(u32),
    /// The immediates.
    Immediate,
}

/// Where something lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) object: Object,
    /// Bytes from the object's first.
    pub(crate) offset: u32,
    /// Whether an index on the way here was past its end.
    pub(crate) is_outside: bool,
    /// Of a vector's component, bytes of the vector before it and from it on.
    pub(crate) vector: Option<[u32; 2]>,
}

impl Pointer {
    /// To an object's first byte.
    pub(crate) fn to(object: Object) -> Self {
        Self { object, offset: 0, is_outside: false, vector: None }
    }
}

/// A value of one invocation.
#[derive(Debug)]
pub(crate) enum Value {
    Words(Words),
    Pointer(Pointer),
}

impl Clone for Value {
    fn clone(&self) -> Self {
        match self {
            // SmallVec's own goes element by element.
            Self::Words(words) => Self::Words(each_word(words.len(), |place| words[place])),
            Self::Pointer(pointer) => Self::Pointer(*pointer),
        }
    }
}

impl Default for Value {
    fn default() -> Self {
        Self::Words(Words::new())
    }
}

impl Value {
    pub(crate) fn scalar(word: u32) -> Self {
        Self::Words(Words::from_buf_and_len([word, 0, 0, 0], 1))
    }

    pub(crate) fn words(&self) -> Result<&Words, Fault> {
        match self {
            Self::Words(words) => Ok(words),
            Self::Pointer(_) => Err(Fault::unknown("a pointer as a value")),
        }
    }

    pub(crate) fn pointer(&self) -> Result<Pointer, Fault> {
        match self {
            Self::Pointer(pointer) => Ok(*pointer),
            Self::Words(_) => Err(Fault::unknown("a value as a pointer")),
        }
    }

    /// The only word, or the first.
    pub(crate) fn first(&self) -> Result<u32, Fault> {
        self.words()?.first().copied().ok_or_else(|| Fault::unknown("a value that nobody gave"))
    }
}

/// The scalar that a value is made of.
pub(crate) fn scalar_of(ty: &TypeInner) -> Result<Scalar, Fault> {
    match ty {
        TypeInner::Scalar(scalar)
        | TypeInner::Vector { scalar, .. }
        | TypeInner::Matrix { scalar, .. }
        | TypeInner::CooperativeMatrix { scalar, .. } => Ok(*scalar),
        other => Err(Fault::unknown(format!("arithmetic of {other:?}"))),
    }
}

/// Rounded to what a scalar of so many bytes holds.
pub(crate) fn rounded(value: f32, scalar: Scalar) -> u32 {
    let value = if scalar.width == 2 { half::f16::from_f32(value).to_f32() } else { value };
    value.to_bits()
}
