//! Statements, by all invocations that reach them.

use naga::{Barrier, Block, Expression, Handle, Statement, SwitchCase, SwitchValue, TypeInner};

use crate::{
    Fault, Kind,
    machine::{Active, Frame, Machine},
    value::Value,
};

/// Where the invocations of a block went.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Past its end.
    pub(crate) through: Active,
    /// Out of the loop or switch around it.
    broken: Active,
    /// To the next round of the loop around it.
    continued: Active,
}

/// Both in order.
fn merged(mut a: Active, b: Active) -> Active {
    if a.is_empty() {
        return b;
    }
    if b.is_empty() {
        return a;
    }
    a.extend(b);
    a.sort_unstable();
    a
}

impl Flow {
    fn join(&mut self, other: Self) {
        self.through = merged(std::mem::take(&mut self.through), other.through);
        self.broken = merged(std::mem::take(&mut self.broken), other.broken);
        self.continued = merged(std::mem::take(&mut self.continued), other.continued);
    }
}

impl<'m> Machine<'m> {
    /// Runs a block.
    pub(crate) fn block(&mut self, frame: &mut Frame<'m>, block: &'m Block, active: Active) -> Result<Flow, Fault> {
        let mut flow = Flow { through: active, ..Flow::default() };
        for (statement, span) in block.span_iter() {
            if flow.through.is_empty() {
                break;
            }
            self.span = *span;
            let active = std::mem::take(&mut flow.through);
            let next = self.statement(frame, statement, active)?;
            flow.join(next);
        }
        Ok(flow)
    }

    fn statement(&mut self, frame: &mut Frame<'m>, statement: &'m Statement, active: Active) -> Result<Flow, Fault> {
        let through = |active| Ok(Flow { through: active, ..Flow::default() });
        match statement {
            Statement::Block(block) => self.block(frame, block, active),
            Statement::If { condition, accept, reject } => {
                let (yes, no) = self.parted(frame, *condition, active)?;
                let mut flow = self.block(frame, accept, yes)?;
                flow.join(self.block(frame, reject, no)?);
                Ok(flow)
            }
            Statement::Switch { selector, cases } => self.switch(frame, *selector, cases, active),
            Statement::Loop { body, continuing, break_if } => {
                let through = self.rounds(frame, [body, continuing], *break_if, active)?;
                Ok(Flow { through, ..Flow::default() })
            }
            Statement::Break => Ok(Flow { broken: active, ..Flow::default() }),
            Statement::Continue => Ok(Flow { continued: active, ..Flow::default() }),
            Statement::Return { value } => {
                for lane in active {
                    if let Some(value) = value {
                        frame.returned[lane as usize] = frame.value(*value, lane)?.clone();
                    }
                }
                Ok(Flow::default())
            }
            other => {
                self.plain(frame, other, &active)?;
                through(active)
            }
        }
    }

    /// A statement after which everybody goes on.
    fn plain(&mut self, frame: &mut Frame<'m>, statement: &'m Statement, active: &Active) -> Result<(), Fault> {
        match statement {
            Statement::Emit(range) => {
                for handle in range.clone() {
                    self.span = frame.function.expressions.get_span(handle);
                    self.evaluate(frame, handle, active)?;
                }
            }
            Statement::ControlBarrier(barrier) => self.barrier(*barrier, active),
            Statement::Store { pointer, value } => self.store_all(frame, *pointer, *value, active)?,
            Statement::Call { function, arguments, result } => {
                let mut values = Vec::new();
                for argument in arguments {
                    let mut lanes = vec![Value::default(); self.lanes as usize];
                    for lane in active {
                        lanes[*lane as usize] = frame.value(*argument, *lane)?.clone();
                    }
                    values.push(lanes);
                }
                let (called, info) = (&self.module.functions[*function], &self.info[*function]);
                let span = self.span;
                let returned = self.call(called, info, values, active.clone())?;
                self.span = span;
                if let Some(result) = result {
                    self.keep(frame, *result, active, returned);
                }
            }
            Statement::SubgroupBallot { .. }
            | Statement::SubgroupGather { .. }
            | Statement::SubgroupCollectiveOperation { .. }
            | Statement::CooperativeStore { .. } => self.together(frame, statement, active)?,
            other => return Err(Fault::unknown(format!("statement {other:?}"))),
        }
        Ok(())
    }

    /// Those for whom a condition holds, and the others.
    fn parted(
        &mut self,
        frame: &mut Frame<'m>,
        condition: Handle<Expression>,
        active: Active,
    ) -> Result<(Active, Active), Fault> {
        let (mut yes, mut no) = (Active::new(), Active::new());
        for lane in active {
            let side = if frame.value(condition, lane)?.first()? != 0 { &mut yes } else { &mut no };
            side.push(lane);
        }
        Ok((yes, no))
    }

    fn switch(
        &mut self,
        frame: &mut Frame<'m>,
        selector: Handle<Expression>,
        cases: &'m [SwitchCase],
        mut active: Active,
    ) -> Result<Flow, Fault> {
        let mut flow = Flow::default();
        let mut waiting = Active::new(); // fell out of the case before
        let word = |value: SwitchValue| match value {
            SwitchValue::I32(value) => Some(value as u32),
            SwitchValue::U32(value) => Some(value),
            SwitchValue::Default => None,
        };
        let named: Vec<u32> = cases.iter().filter_map(|case| word(case.value)).collect();
        for case in cases {
            let (mut own, mut others) = (Active::new(), Active::new());
            for lane in active {
                let chosen = frame.value(selector, lane)?.first()?;
                let is_own = word(case.value).map_or(!named.contains(&chosen), |value| value == chosen);
                if is_own { own.push(lane) } else { others.push(lane) }
            }
            active = others;
            let mut found = self.block(frame, &case.body, merged(own, std::mem::take(&mut waiting)))?;
            if case.fall_through {
                waiting = std::mem::take(&mut found.through);
            }
            flow.join(found);
        }
        let broken = std::mem::take(&mut flow.broken);
        flow.through = merged(merged(std::mem::take(&mut flow.through), broken), active);
        Ok(flow)
    }

    /// A loop; those that leave it.
    fn rounds(
        &mut self,
        frame: &mut Frame<'m>,
        [body, continuing]: [&'m Block; 2],
        break_if: Option<Handle<Expression>>,
        mut active: Active,
    ) -> Result<Active, Fault> {
        let mut left = Active::new();
        while !active.is_empty() {
            let flow = self.block(frame, body, active)?;
            left = merged(left, flow.broken);
            let next = self.block(frame, continuing, merged(flow.through, flow.continued))?;
            active = next.through;
            if let Some(condition) = break_if {
                let (ends, goes_on) = self.parted(frame, condition, active)?;
                left = merged(left, ends);
                active = goes_on;
            }
        }
        Ok(left)
    }

    fn barrier(&mut self, barrier: Barrier, active: &Active) {
        if active.len() != self.lanes as usize {
            self.find(Kind::Apart, format!("{} of {} invocations reach the barrier", active.len(), self.lanes));
        }
        self.epochs[0] += u32::from(barrier.contains(Barrier::STORAGE));
        self.epochs[1] += u32::from(barrier.contains(Barrier::WORK_GROUP));
    }

    fn store_all(
        &mut self,
        frame: &mut Frame<'m>,
        pointer: Handle<Expression>,
        value: Handle<Expression>,
        active: &Active,
    ) -> Result<(), Fault> {
        let ty = self.ty(frame, pointer);
        for lane in active {
            let to = frame.value(pointer, *lane)?.pointer()?;
            let words = frame.value(value, *lane)?.words()?.clone();
            match ty {
                TypeInner::Pointer { base, .. } => self.store(*lane, to, *base, &words)?,
                TypeInner::ValuePointer { scalar, .. } => {
                    for (i, word) in words.iter().enumerate() {
                        self.store_scalar(*lane, to, i as u32 * u32::from(scalar.width), *scalar, *word)?;
                    }
                }
                other => return Err(Fault::unknown(format!("a store to {other:?}"))),
            }
        }
        Ok(())
    }

    /// Keeps the values of those that are active.
    pub(crate) fn keep(
        &self,
        frame: &mut Frame<'m>,
        handle: Handle<Expression>,
        active: &Active,
        mut found: Vec<Value>,
    ) {
        let lanes = &mut frame.values[handle.index()];
        lanes.resize(self.lanes as usize, Value::default());
        for lane in active {
            lanes[*lane as usize] = std::mem::take(&mut found[*lane as usize]);
        }
    }
}
