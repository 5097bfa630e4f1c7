//! What the invocations of a subgroup do together: shuffles, votes, sums, and cooperative matrices.

use naga::{
    CollectiveOperation, CooperativeData, Expression, GatherMode, Handle, Scalar, ScalarKind, Statement,
    SubgroupOperation, TypeInner,
};

use crate::{
    Fault, Kind,
    machine::{Active, Frame, Lanes, Machine},
    value::{Pointer, Value, Words, scalar_of},
};

impl<'m> Machine<'m> {
    /// The active invocations by subgroup; that some of one are not is a finding.
    fn subgroups(&mut self, active: &Active) -> Vec<Active> {
        let parts: Vec<Active> =
            active.chunk_by(|a, b| a / self.subgroup == b / self.subgroup).map(<[u32]>::to_vec).collect();
        for part in &parts {
            let first = part[0] / self.subgroup * self.subgroup;
            let all = self.subgroup.min(self.lanes - first);
            if part.len() as u32 != all {
                self.find(Kind::Apart, format!("{} of a subgroup's {all} invocations are here", part.len()));
            }
        }
        parts
    }

    /// A statement that a subgroup does as one.
    pub(crate) fn together(
        &mut self,
        frame: &mut Frame<'m>,
        statement: &'m Statement,
        active: &Active,
    ) -> Result<(), Fault> {
        for part in self.subgroups(active) {
            match statement {
                Statement::SubgroupBallot { result, predicate } => {
                    let mut bits = [0_u32; 4];
                    for lane in &part {
                        let holds = match predicate {
                            Some(predicate) => frame.value(*predicate, *lane)?.first()? != 0,
                            None => true,
                        };
                        let place = lane % self.subgroup;
                        bits[place as usize / 32] |= u32::from(holds) << (place % 32);
                    }
                    self.give(frame, *result, &part, |_| Value::Words(Words::from_slice(&bits)));
                }
                Statement::SubgroupGather { mode, argument, result } => {
                    self.gather(frame, *mode, [*argument, *result], &part)?;
                }
                Statement::SubgroupCollectiveOperation { op, collective_op, argument, result } => {
                    self.collect(frame, (*op, *collective_op), [*argument, *result], &part)?;
                }
                Statement::CooperativeStore { target, data } => self.store_matrix(frame, *target, data, &part)?,
                other => return Err(Fault::unknown(format!("{other:?}"))),
            }
        }
        Ok(())
    }

    fn give(&self, frame: &mut Frame<'m>, result: Handle<Expression>, part: &Active, value: impl Fn(u32) -> Value) {
        let mut found: Lanes = vec![Value::default(); self.lanes as usize];
        for lane in part {
            found[*lane as usize] = value(*lane);
        }
        self.keep(frame, result, part, found);
    }

    fn gather(
        &mut self,
        frame: &mut Frame<'m>,
        mode: GatherMode,
        [argument, result]: [Handle<Expression>; 2],
        part: &Active,
    ) -> Result<(), Fault> {
        let mut found: Lanes = vec![Value::default(); self.lanes as usize];
        for lane in part {
            let own = lane % self.subgroup;
            let base = lane - own;
            let given = |index: Handle<Expression>| frame.value(index, *lane)?.first();
            let from = match mode {
                GatherMode::BroadcastFirst => part[0] - base,
                GatherMode::Broadcast(index) | GatherMode::Shuffle(index) => given(index)?,
                GatherMode::ShuffleDown(by) => own.wrapping_add(given(by)?),
                GatherMode::ShuffleUp(by) => own.wrapping_sub(given(by)?),
                GatherMode::ShuffleXor(mask) => own ^ given(mask)?,
                other => return Err(Fault::unknown(format!("{other:?}"))),
            };
            // Where nobody is, anything may come: it must not matter.
            let source = base.wrapping_add(from);
            let is_there = from < self.subgroup && part.contains(&source);
            found[*lane as usize] = if is_there {
                frame.value(argument, source)?.clone()
            } else {
                let len = frame.value(argument, *lane)?.words()?.len();
                Value::Words(Words::from_elem(f32::NAN.to_bits(), len))
            };
        }
        self.keep(frame, result, part, found);
        Ok(())
    }

    fn collect(
        &mut self,
        frame: &mut Frame<'m>,
        (op, collective): (SubgroupOperation, CollectiveOperation),
        [argument, result]: [Handle<Expression>; 2],
        part: &Active,
    ) -> Result<(), Fault> {
        if collective != CollectiveOperation::Reduce {
            return Err(Fault::unknown(format!("{collective:?}")));
        }
        let scalar = scalar_of(self.ty(frame, argument))?;
        let mut all: Option<Words> = None;
        for lane in part {
            let words = frame.value(argument, *lane)?.words()?.clone();
            all = Some(match all {
                None => words,
                Some(so_far) => {
                    so_far.iter().zip(&words).map(|(a, b)| reduced(op, scalar, *a, *b)).collect::<Result<_, _>>()?
                }
            });
        }
        let all = all.unwrap_or_default();
        self.give(frame, result, part, |_| Value::Words(all.clone()));
        Ok(())
    }

    /// Values of an expression of cooperative matrices.
    pub(crate) fn matrices(
        &mut self,
        frame: &mut Frame<'m>,
        handle: Handle<Expression>,
        active: &Active,
    ) -> Result<Lanes, Fault> {
        let mut found: Lanes = vec![Value::default(); self.lanes as usize];
        for part in self.subgroups(active) {
            let matrix = match &frame.function.expressions[handle] {
                Expression::CooperativeLoad { data, .. } => self.load_matrix(frame, handle, data, &part)?,
                Expression::CooperativeMultiplyAdd { a, b, c } => {
                    let side = sides(self.ty(frame, *c))?;
                    let [a, b, c] = [
                        self.matrix(frame, *a, &part)?,
                        self.matrix(frame, *b, &part)?,
                        self.matrix(frame, *c, &part)?,
                    ];
                    multiplied(side, [&a, &b, &c])
                }
                other => return Err(Fault::unknown(format!("{other:?}"))),
            };
            self.matrices.push(matrix);
            let number = self.matrices.len() as u32 - 1;
            for lane in &part {
                found[*lane as usize] = Value::scalar(number);
            }
        }
        Ok(found)
    }

    fn matrix(&mut self, frame: &mut Frame<'m>, handle: Handle<Expression>, part: &Active) -> Result<Vec<f32>, Fault> {
        let number = frame.value(handle, part[0])?.first()?;
        let side = sides(self.ty(frame, handle))?;
        let found = self.matrices.get(number as usize).ok_or_else(|| Fault::unknown("a matrix"))?;
        Ok(if found.is_empty() { vec![0.0; side * side] } else { found.clone() })
    }

    /// Where a matrix lies: its first element, elements from one line to the next, and the elements' type.
    fn lines(
        &mut self,
        frame: &mut Frame<'m>,
        data: &CooperativeData,
        part: &Active,
    ) -> Result<(Pointer, u32, Scalar), Fault> {
        // The stride counts what the pointer points to: scalars or vectors.
        let (scalar, cell) = match self.ty(frame, data.pointer) {
            TypeInner::Pointer { base, .. } => match &self.module.types[*base].inner {
                TypeInner::Vector { size, scalar } => (*scalar, *size as u32),
                other => (scalar_of(other)?, 1),
            },
            TypeInner::ValuePointer { scalar, .. } => (*scalar, 1),
            other => return Err(Fault::unknown(format!("a matrix at {other:?}"))),
        };
        // naga has no statement that emits this pointer, as it has for others.
        self.evaluate(frame, data.pointer, part)?;
        let own = |lane: u32| {
            Ok::<_, Fault>((frame.value(data.pointer, lane)?.pointer()?, frame.value(data.stride, lane)?.first()?))
        };
        let (pointer, stride) = own(part[0])?;
        for lane in part {
            if own(*lane)? != (pointer, stride) {
                self.find(Kind::Apart, "invocations of a subgroup name different places for a matrix".to_owned());
            }
        }
        Ok((pointer, stride * cell, scalar))
    }

    fn load_matrix(
        &mut self,
        frame: &mut Frame<'m>,
        handle: Handle<Expression>,
        data: &CooperativeData,
        part: &Active,
    ) -> Result<Vec<f32>, Fault> {
        let side = sides(self.ty(frame, handle))?;
        let (pointer, stride, scalar) = self.lines(frame, data, part)?;
        let mut matrix = vec![0.0; side * side];
        for (cell, place) in cells(side, stride, data.row_major) {
            let word = self.load_scalar(part[0], pointer, cell * u32::from(scalar.width), scalar)?;
            matrix[place] = f32::from_bits(word);
        }
        Ok(matrix)
    }

    fn store_matrix(
        &mut self,
        frame: &mut Frame<'m>,
        target: Handle<Expression>,
        data: &CooperativeData,
        part: &Active,
    ) -> Result<(), Fault> {
        let side = sides(self.ty(frame, target))?;
        let matrix = self.matrix(frame, target, part)?;
        let (pointer, stride, scalar) = self.lines(frame, data, part)?;
        for (cell, place) in cells(side, stride, data.row_major) {
            let offset = cell * u32::from(scalar.width);
            self.store_scalar(part[0], pointer, offset, scalar, matrix[place].to_bits())?;
        }
        Ok(())
    }
}

/// Where a matrix' elements lie, in elements, and their places column by column; its lines in memory are rows or columns.
fn cells(side: usize, stride: u32, lines_are_rows: bool) -> impl Iterator<Item = (u32, usize)> {
    (0..side * side).map(move |number| {
        let (line, within) = (number / side, number % side);
        let place = if lines_are_rows { within * side + line } else { number };
        (line as u32 * stride + within as u32, place)
    })
}

fn sides(ty: &TypeInner) -> Result<usize, Fault> {
    match ty {
        TypeInner::CooperativeMatrix { columns, rows, .. } if *columns as u32 == *rows as u32 => Ok(*columns as usize),
        other => Err(Fault::unknown(format!("{other:?} as a square matrix"))),
    }
}

/// A B + C, column by column.
fn multiplied(side: usize, [a, b, c]: [&Vec<f32>; 3]) -> Vec<f32> {
    let sum = |place: usize| {
        let (column, row) = (place / side, place % side);
        (0..side).fold(c[place], |sum, k| a[k * side + row].mul_add(b[column * side + k], sum))
    };
    (0..side * side).map(sum).collect()
}

fn reduced(op: SubgroupOperation, scalar: Scalar, a: u32, b: u32) -> Result<u32, Fault> {
    let [x, y] = [a, b].map(f32::from_bits);
    Ok(match (op, scalar.kind) {
        (SubgroupOperation::All | SubgroupOperation::And, _) => a & b,
        (SubgroupOperation::Any | SubgroupOperation::Or, _) => a | b,
        (SubgroupOperation::Xor, _) => a ^ b,
        (SubgroupOperation::Add, ScalarKind::Float) => (x + y).to_bits(),
        (SubgroupOperation::Mul, ScalarKind::Float) => (x * y).to_bits(),
        (SubgroupOperation::Min, ScalarKind::Float) => x.min(y).to_bits(),
        (SubgroupOperation::Max, ScalarKind::Float) => x.max(y).to_bits(),
        (SubgroupOperation::Add, _) => a.wrapping_add(b),
        (SubgroupOperation::Min, ScalarKind::Uint) => a.min(b),
        (SubgroupOperation::Max, ScalarKind::Uint) => a.max(b),
        other => return Err(Fault::unknown(format!("{other:?}"))),
    })
}
