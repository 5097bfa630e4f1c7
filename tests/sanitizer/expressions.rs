//! Expressions, by invocation.

use std::borrow::Cow;

use naga::{Expression, Handle, Literal, TypeInner, VectorSize};

use crate::{
    Fault, Kind, arithmetic,
    layout::{array_len, stride, word_count, zeros},
    machine::{Active, Frame, Machine},
    math,
    value::{Pointer, Value, Words, each_word, scalar_of},
};

fn literal(literal: Literal) -> Result<Value, Fault> {
    Ok(Value::scalar(match literal {
        Literal::F32(value) => value.to_bits(),
        Literal::F16(value) => value.to_f32().to_bits(),
        Literal::U32(value) => value,
        Literal::I32(value) => value as u32,
        Literal::Bool(value) => u32::from(value),
        other => return Err(Fault::unknown(format!("{other:?}"))),
    }))
}

impl<'m> Machine<'m> {
    /// Finds the values of an expression for those that are active.
    pub(crate) fn evaluate(
        &mut self,
        frame: &mut Frame<'m>,
        handle: Handle<Expression>,
        active: &Active,
    ) -> Result<(), Fault> {
        self.step(active.len())?;
        if frame.values[handle.index()].is_empty() {
            frame.values[handle.index()].resize(self.lanes as usize, Value::default());
        }
        let expression = &frame.function.expressions[handle];
        if matches!(expression, Expression::CooperativeLoad { .. } | Expression::CooperativeMultiplyAdd { .. }) {
            let found = self.matrices(frame, handle, active)?;
            self.keep(frame, handle, active, found);
            return Ok(());
        }
        for lane in active {
            let found = self.one(frame, handle, *lane)?;
            frame.values[handle.index()][*lane as usize] = found;
        }
        Ok(())
    }

    pub(crate) fn one(&mut self, frame: &Frame<'m>, handle: Handle<Expression>, lane: u32) -> Result<Value, Fault> {
        let expression = &frame.function.expressions[handle];
        match expression {
            Expression::Literal(_) | Expression::Constant(_) | Expression::ZeroValue(_) => self.known(expression),
            Expression::GlobalVariable(global) => Ok(Value::Pointer(self.global(*global)?)),
            Expression::LocalVariable(variable) => Ok(Value::Pointer(frame.variables[&variable.index()])),
            Expression::Access { base, index } => {
                let index = frame.value(*index, lane)?.first()?;
                self.element(frame, *base, index, lane)
            }
            Expression::AccessIndex { base, index } => self.element(frame, *base, *index, lane),
            Expression::Load { pointer } => self.loaded(frame, *pointer, lane),
            Expression::ArrayLength(array) => {
                let pointer = frame.value(*array, lane)?.pointer()?;
                let len = self.bound_len(pointer.object) - pointer.offset;
                let ty = self.pointee(frame, *array)?;
                Ok(Value::scalar(len / stride(&ty)?))
            }
            Expression::Compose { components, .. } => {
                let mut words = Words::new();
                for component in components {
                    words.extend_from_slice(frame.value(*component, lane)?.words()?);
                }
                Ok(Value::Words(words))
            }
            Expression::Splat { size, value } => {
                let word = frame.value(*value, lane)?.first()?;
                Ok(Value::Words(each_word(*size as usize, |_| word)))
            }
            Expression::Swizzle { size, vector, pattern } => {
                let vector = frame.value(*vector, lane)?;
                let words = vector.words()?;
                Ok(Value::Words(each_word(*size as usize, |place| words[pattern[place] as usize])))
            }
            _ => self.computed(frame, handle, lane),
        }
    }

    /// What depends on values alone.
    fn computed(&self, frame: &Frame<'m>, handle: Handle<Expression>, lane: u32) -> Result<Value, Fault> {
        match &frame.function.expressions[handle] {
            Expression::Unary { op, expr } => {
                let scalar = scalar_of(self.ty(frame, *expr))?;
                let value = frame.value(*expr, lane)?;
                Ok(Value::Words(arithmetic::unary(*op, scalar, value.words()?)?))
            }
            Expression::Binary { op, left, right } => {
                let types = [self.ty(frame, *left), self.ty(frame, *right)];
                let [left, right] = [frame.value(*left, lane)?, frame.value(*right, lane)?];
                Ok(Value::Words(arithmetic::binary(*op, types, [left.words()?, right.words()?])?))
            }
            Expression::Select { condition, accept, reject } => {
                let condition = frame.value(*condition, lane)?;
                let [accept, reject] = [frame.value(*accept, lane)?, frame.value(*reject, lane)?];
                let (condition, accept, reject) = (condition.words()?, accept.words()?, reject.words()?);
                let chosen = |i: usize| if condition[i % condition.len()] != 0 { accept[i] } else { reject[i] };
                Ok(Value::Words(each_word(accept.len(), chosen)))
            }
            Expression::Relational { fun, argument } => {
                let value = frame.value(*argument, lane)?;
                Ok(Value::Words(arithmetic::relational(*fun, value.words()?)))
            }
            Expression::As { expr, kind, convert } => {
                let from = scalar_of(self.ty(frame, *expr))?;
                if convert.is_none() && from.width != 4 {
                    return Err(Fault::unknown("the bits of what is no word"));
                }
                let value = frame.value(*expr, lane)?;
                let words = value.words()?;
                Ok(Value::Words(each_word(words.len(), |i| arithmetic::cast(words[i], from, *kind, *convert))))
            }
            Expression::Math { fun, arg, arg1, arg2, arg3 } => {
                let ty = self.ty(frame, *arg);
                let mut arguments = Vec::new();
                for argument in [Some(*arg), *arg1, *arg2, *arg3].into_iter().flatten() {
                    arguments.push(frame.value(argument, lane)?.words()?.clone());
                }
                Ok(Value::Words(math::function(*fun, ty, &arguments)?))
            }
            other => Err(Fault::unknown(format!("{other:?} that nothing gave a value"))),
        }
    }

    /// What stands in the module.
    pub(crate) fn constant(&self, handle: Handle<Expression>) -> Result<Value, Fault> {
        match &self.module.global_expressions[handle] {
            Expression::Compose { components, .. } => {
                let mut words = Words::new();
                for component in components {
                    words.extend_from_slice(self.constant(*component)?.words()?);
                }
                Ok(Value::Words(words))
            }
            Expression::Splat { size, value } => {
                let word = self.constant(*value)?.first()?;
                Ok(Value::Words(each_word(*size as usize, |_| word)))
            }
            other => self.known(other),
        }
    }

    /// What is known wherever it stands.
    fn known(&self, expression: &Expression) -> Result<Value, Fault> {
        let module = self.module;
        match expression {
            Expression::Literal(value) => literal(*value),
            Expression::Constant(constant) => self.constant(module.constants[*constant].init),
            Expression::ZeroValue(ty) => Ok(Value::Words(zeros(module, &module.types[*ty].inner)?)),
            other => Err(Fault::unknown(format!("constant {other:?}"))),
        }
    }

    /// The type that a pointer points to.
    fn pointee(&self, frame: &Frame<'m>, pointer: Handle<Expression>) -> Result<Cow<'m, TypeInner>, Fault> {
        match self.ty(frame, pointer) {
            TypeInner::Pointer { base, .. } => Ok(Cow::Borrowed(&self.module.types[*base].inner)),
            TypeInner::ValuePointer { size: Some(size), scalar, .. } => {
                Ok(Cow::Owned(TypeInner::Vector { size: *size, scalar: *scalar }))
            }
            other => Err(Fault::unknown(format!("{other:?} as a pointer"))),
        }
    }

    /// How many elements a type has; `None` where its memory says.
    fn extent(&self, ty: &TypeInner) -> Result<Option<u32>, Fault> {
        Ok(Some(match ty {
            TypeInner::Vector { size, .. } => *size as u32,
            TypeInner::Matrix { columns, .. } => *columns as u32,
            TypeInner::Array { size: naga::ArraySize::Dynamic, .. } => return Ok(None),
            TypeInner::Array { size, .. } => array_len(self.module, *size)?,
            TypeInner::Struct { members, .. } => members.len() as u32,
            other => return Err(Fault::unknown(format!("elements of {other:?}"))),
        }))
    }

    /// An element of a value, or a pointer to one.
    fn element(&mut self, frame: &Frame<'m>, base: Handle<Expression>, index: u32, lane: u32) -> Result<Value, Fault> {
        match frame.value(base, lane)? {
            Value::Pointer(pointer) => {
                let ty = self.pointee(frame, base)?;
                self.pointer_to(&ty, *pointer, index)
            }
            Value::Words(words) => {
                let ty = self.ty(frame, base);
                let extent = self.extent(ty)?.unwrap_or(0);
                if index >= extent {
                    self.find(Kind::PastEnd, format!("element {index} of {extent}"));
                    return Ok(Value::Words(Words::from_elem(0, words.len() / extent.max(1) as usize)));
                }
                let (start, len) = self.member(ty, index as usize, words.len() / extent as usize)?;
                Ok(Value::Words(each_word(len, |place| words[start + place])))
            }
        }
    }

    /// First word and words of a value's element; `even` where all have as many.
    fn member(&self, ty: &TypeInner, index: usize, even: usize) -> Result<(usize, usize), Fault> {
        let TypeInner::Struct { members, .. } = ty else { return Ok((index * even, even)) };
        let count = |place: usize| word_count(self.module, &self.module.types[members[place].ty].inner);
        Ok(((0..index).map(count).sum::<Result<usize, Fault>>()?, count(index)?))
    }

    fn pointer_to(&mut self, ty: &TypeInner, pointer: Pointer, index: u32) -> Result<Value, Fault> {
        let step = match ty {
            TypeInner::Struct { members, .. } => u64::from(members[index as usize].offset),
            other => u64::from(index) * u64::from(stride(other)?),
        };
        let vector = match ty {
            TypeInner::Vector { size, scalar } => {
                let bytes = *size as u32 * u32::from(scalar.width);
                Some([step as u32, bytes.saturating_sub(step as u32)])
            }
            _ => None,
        };
        // Past the end of an array within a variable other bytes of the variable may lie.
        let past = self.extent(ty)?.is_some_and(|extent| index >= extent);
        let offset = u32::try_from(u64::from(pointer.offset) + step).unwrap_or(u32::MAX);
        let is_outside = pointer.is_outside || past || offset == u32::MAX;
        Ok(Value::Pointer(Pointer { offset, is_outside, vector, ..pointer }))
    }

    fn loaded(&mut self, frame: &Frame<'m>, pointer: Handle<Expression>, lane: u32) -> Result<Value, Fault> {
        let from = frame.value(pointer, lane)?.pointer()?;
        match self.ty(frame, pointer) {
            TypeInner::Pointer { base, .. } => Ok(Value::Words(self.load(lane, from, *base)?)),
            TypeInner::ValuePointer { size, scalar, .. } => {
                let count = size.map_or(1, |size: VectorSize| size as u32);
                let word = |i: u32| self.load_scalar(lane, from, i * u32::from(scalar.width), *scalar);
                Ok(Value::Words((0..count).map(word).collect::<Result<_, _>>()?))
            }
            other => Err(Fault::unknown(format!("a load of {other:?}"))),
        }
    }
}
