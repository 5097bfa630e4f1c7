//! Numbers in f64 that know what the roundings of f32 can make of them.
//!
//! A sum of products of which none is the result of more than k roundings is off by k units of what it is with every term's size in
//! the term's place, to first order; what follows from it, exponentials included, by as many of the size that is propagated here.
//!
//! Source: Higham, "Accuracy and stability of numerical algorithms", 2nd ed., 3.1 to 3.3.

use std::ops::{Add, AddAssign, Mul, Sub};

/// A value with the size that its roundings are relative to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounded {
    pub(super) value: f64,
    pub(super) size: f64,
}

impl Bounded {
    /// What is known but for a rounding.
    pub(super) fn exact(value: f64) -> Self {
        Self { value, size: value.abs() }
    }
}

impl Add for Bounded {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { value: self.value + other.value, size: self.size + other.size }
    }
}

impl Sub for Bounded {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { value: self.value - other.value, size: self.size + other.size }
    }
}

impl Mul for Bounded {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self { value: self.value * other.value, size: self.size * other.size }
    }
}

/// A number with its derivative along a direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dual {
    pub(super) value: Bounded,
    pub(super) tangent: Bounded,
}

impl Dual {
    pub(super) fn exact(value: f64, tangent: f64) -> Self {
        Self { value: Bounded::exact(value), tangent: Bounded::exact(tangent) }
    }

    /// The same as a kernel reads it that did not make it.
    pub(super) fn stored(self) -> Self {
        Self::exact(self.value.value, self.tangent.value)
    }

    /// An argument that is off by so much makes an exponential that is, relative to itself.
    pub(super) fn exp(self) -> Self {
        let exp = self.value.value.exp();
        let value = Bounded { value: exp, size: exp * (1.0 + self.value.size) };
        Self { value, tangent: value * self.tangent }
    }

    /// Of a positive number.
    pub(super) fn ln(self) -> Self {
        let Bounded { value, size } = self.value;
        let (ln, relative) = (value.ln(), size / value);
        let slope = Bounded { value: 1.0 / value, size: relative / value };
        Self { value: Bounded { value: ln, size: ln.abs() + relative }, tangent: slope * self.tangent }
    }
}

impl Add for Dual {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { value: self.value + other.value, tangent: self.tangent + other.tangent }
    }
}

impl AddAssign for Dual {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Dual {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { value: self.value - other.value, tangent: self.tangent - other.tangent }
    }
}

impl Mul for Dual {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let tangent = self.tangent * other.value + self.value * other.tangent;
        Self { value: self.value * other.value, tangent }
    }
}

impl std::iter::Sum for Dual {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}
