//! A workgroup at a time, its invocations side by side: every statement is done by all that reach it before the next one.

use std::collections::{BTreeMap, BTreeSet};

use naga::{
    AddressSpace, Binding, BuiltIn, Expression, Function, FunctionArgument, GlobalVariable, Handle, Module, Span,
    TypeInner,
    valid::{FunctionInfo, ModuleInfo},
};

use crate::{
    Fault, Finding, Kernel, Kind, Launch,
    layout::size,
    memory::{Bound, Leaves, Local, Races, Spoilt, Watched},
    value::{Object, Pointer, Value, Words},
};

/// Numbers of invocations in a workgroup, in order.
pub(crate) type Active = Vec<u32>;

/// Values of an expression by invocation.
pub(crate) type Lanes = Vec<Value>;

/// A call on its way: the values of its expressions, and where its variables begin.
pub(crate) struct Frame<'m> {
    pub(crate) function: &'m Function,
    pub(crate) info: &'m FunctionInfo,
    pub(crate) values: Vec<Lanes>,
    pub(crate) arguments: Vec<Lanes>,
    pub(crate) variables: BTreeMap<usize, Pointer>,
    pub(crate) returned: Lanes,
}

impl Frame<'_> {
    /// An expression's value for an invocation.
    pub(crate) fn value(&self, handle: Handle<Expression>, lane: u32) -> Result<&Value, Fault> {
        let values = &self.values[handle.index()];
        // One alone is everybody's.
        let value = if values.len() == 1 { values.first() } else { values.get(lane as usize) };
        value
            .ok_or_else(|| Fault::unknown(format!("{:?} that nothing gave a value", self.function.expressions[handle])))
    }
}

/// Of what a workgroup is told.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    id: [u32; 3],
    grid: [u32; 3],
    size: [u32; 3],
}

/// What runs a kernel.
pub(crate) struct Machine<'m> {
    pub(crate) module: &'m Module,
    pub(crate) info: &'m ModuleInfo,
    pub(crate) text: &'m str,
    /// Invocations of a workgroup, and of a subgroup.
    pub(crate) lanes: u32,
    pub(crate) subgroup: u32,
    pub(crate) locals: Vec<Local>,
    pub(crate) shared: Vec<Watched>,
    pub(crate) buffers: Vec<Watched>,
    pub(crate) bound: Vec<Bound>,
    pub(crate) immediates: Vec<u8>,
    /// Where global variables lie, by their handle's index.
    globals: BTreeMap<usize, Pointer>,
    pub(crate) leaves: Leaves,
    /// Cooperative matrices by number, column by column; number 0 is the zero of any size.
    pub(crate) matrices: Vec<Vec<f32>>,
    pub(crate) workgroup: u32,
    /// Barriers so far for storage and for workgroup memory.
    pub(crate) epochs: [u32; 2],
    pub(crate) span: Span,
    steps: u64,
    pub(crate) findings: BTreeSet<Finding>,
    /// Reads beside writes that were found, and whether there were writes beside writes.
    pub(crate) races: Races,
    pub(crate) is_torn: bool,
    /// Races whose readers find nonsense.
    pub(crate) spoilt: Spoilt,
    place: Place,
}

impl<'m> Machine<'m> {
    pub(crate) fn new(kernel: &'m Kernel, launch: &Launch<'_>) -> Result<Self, Fault> {
        let Kernel { module, info, text } = kernel;
        let entry = module.entry_points.first().ok_or_else(|| Fault::unknown("an entry point"))?;
        let mut machine = Self {
            module,
            info,
            text,
            lanes: entry.workgroup_size.iter().product(),
            subgroup: launch.subgroup,
            locals: Vec::new(),
            shared: Vec::new(),
            buffers: Vec::new(),
            bound: Vec::new(),
            immediates: launch.immediates.to_vec(),
            globals: BTreeMap::new(),
            leaves: Leaves::new(),
            matrices: Vec::new(),
            workgroup: 0,
            epochs: [0; 2],
            span: Span::UNDEFINED,
            steps: launch.steps,
            findings: BTreeSet::new(),
            races: Races::new(),
            is_torn: false,
            spoilt: Spoilt::default(),
            place: Place { id: [0; 3], grid: launch.grid, size: entry.workgroup_size },
        };
        machine.bind(launch)?;
        for (handle, global) in
            module.global_variables.iter().filter(|(_, global)| global.space != AddressSpace::Private)
        {
            let object = machine.object_of(global)?;
            machine.globals.insert(handle.index(), Pointer::to(object));
        }
        Ok(machine)
    }

    fn bind(&mut self, launch: &Launch<'_>) -> Result<(), Fault> {
        self.buffers = launch.buffers.iter().map(|bytes| Watched::new(bytes.clone())).collect();
        for part in launch.bindings {
            let len = self.buffers.get(part.buffer).map_or(0, |buffer| buffer.bytes.len());
            if part.start + part.bound > len || part.len > part.bound {
                return Err(Fault::unknown("what lies past a buffer's end"));
            }
            let [start, len, bound] = [part.start, part.len, part.bound].map(|bytes| bytes as u32);
            self.bound.push(Bound { buffer: part.buffer, start, len, bound });
        }
        Ok(())
    }

    fn object_of(&mut self, global: &GlobalVariable) -> Result<Object, Fault> {
        Ok(match (global.space, &global.binding) {
            (AddressSpace::WorkGroup, _) => {
                let bytes = size(self.module, &self.module.types[global.ty].inner)?;
                self.shared.push(Watched::new(vec![0; bytes as usize]));
                Object::Shared(self.shared.len() as u32 - 1)
            }
            (AddressSpace::Storage { .. }, Some(binding)) if (binding.binding as usize) < self.bound.len() => {
                Object::Buffer(binding.binding)
            }
            (AddressSpace::Immediate, _) => Object::Immediate,
            (space, _) => return Err(Fault::unknown(format!("a variable in {space:?}"))),
        })
    }

    pub(crate) fn global(&self, handle: Handle<GlobalVariable>) -> Result<Pointer, Fault> {
        self.globals.get(&handle.index()).copied().ok_or_else(|| Fault::unknown("a variable"))
    }

    /// Runs a workgroup.
    pub(crate) fn run(&mut self, id: [u32; 3]) -> Result<(), Fault> {
        let [x, y, _] = self.place.grid;
        self.workgroup = id[0] + x * (id[1] + y * id[2]);
        self.place.id = id;
        self.epochs = [0; 2];
        self.forget_shared();
        self.matrices = vec![Vec::new()];
        self.locals.clear();
        self.make_private()?;
        let entry = &self.module.entry_points[0];
        let arguments =
            entry.function.arguments.iter().map(|argument| self.built_in(argument)).collect::<Result<_, _>>()?;
        let active = (0..self.lanes).collect();
        self.call(&entry.function, self.info.get_entry_point(0), arguments, active).map(|_| ())
    }

    /// The module's variables that each invocation has to itself.
    fn make_private(&mut self) -> Result<(), Fault> {
        let module = self.module;
        for (handle, global) in
            module.global_variables.iter().filter(|(_, global)| global.space == AddressSpace::Private)
        {
            let pointer = self.push_local(global.ty)?;
            self.globals.insert(handle.index(), pointer);
            let Some(init) = global.init else { continue };
            let words = self.constant(init)?.words()?.clone();
            (0..self.lanes).try_for_each(|lane| self.store(lane, pointer, global.ty, &words))?;
        }
        Ok(())
    }

    /// What an entry point is told, by invocation.
    fn built_in(&self, argument: &FunctionArgument) -> Result<Lanes, Fault> {
        let Some(Binding::BuiltIn(built_in)) = argument.binding else {
            return Err(Fault::unknown("an argument of an entry point"));
        };
        let Place { id, grid, size } = self.place;
        let local = |lane: u32| [lane % size[0], lane / size[0] % size[1], lane / (size[0] * size[1])];
        let value = |lane: u32| -> Result<Value, Fault> {
            let words = |words: &[u32]| Ok(Value::Words(Words::from_slice(words)));
            match built_in {
                BuiltIn::GlobalInvocationId => {
                    let local = local(lane);
                    words(&[0, 1, 2].map(|axis| id[axis] * size[axis] + local[axis]))
                }
                BuiltIn::LocalInvocationId => words(&local(lane)),
                BuiltIn::LocalInvocationIndex => words(&[lane]),
                BuiltIn::WorkGroupId => words(&id),
                BuiltIn::NumWorkGroups => words(&grid),
                BuiltIn::SubgroupSize => words(&[self.subgroup]),
                BuiltIn::SubgroupId => words(&[lane / self.subgroup]),
                BuiltIn::SubgroupInvocationId => words(&[lane % self.subgroup]),
                BuiltIn::NumSubgroups => words(&[self.lanes.div_ceil(self.subgroup)]),
                other => Err(Fault::unknown(format!("{other:?}"))),
            }
        };
        (0..self.lanes).map(value).collect()
    }

    /// Calls a function by the invocations that are active; what it returns to each.
    pub(crate) fn call(
        &mut self,
        function: &'m Function,
        info: &'m FunctionInfo,
        arguments: Vec<Lanes>,
        active: Active,
    ) -> Result<Lanes, Fault> {
        let mark = self.locals.len();
        let mut frame = Frame {
            function,
            info,
            values: vec![Lanes::new(); function.expressions.len()],
            arguments,
            variables: BTreeMap::new(),
            returned: vec![Value::default(); self.lanes as usize],
        };
        for (handle, variable) in function.local_variables.iter() {
            let pointer = self.push_local(variable.ty)?;
            frame.variables.insert(handle.index(), pointer);
        }
        for (handle, expression) in function.expressions.iter() {
            self.begin_with(&mut frame, handle, expression, &active)?;
        }
        for (handle, variable) in function.local_variables.iter() {
            let Some(init) = variable.init else { continue };
            for lane in &active {
                let words = frame.value(init, *lane)?.words()?.clone();
                self.store(*lane, frame.variables[&handle.index()], variable.ty, &words)?;
            }
        }
        self.block(&mut frame, &function.body, active)?;
        self.locals.truncate(mark);
        Ok(frame.returned)
    }

    /// The value of an expression that has one from the start: the same for all, an argument, or naga's of such ones.
    fn begin_with(
        &mut self,
        frame: &mut Frame<'m>,
        handle: Handle<Expression>,
        expression: &Expression,
        active: &Active,
    ) -> Result<(), Fault> {
        let is_known = |frame: &Frame<'_>, operand: &Handle<Expression>| !frame.values[operand.index()].is_empty();
        match expression {
            Expression::FunctionArgument(number) => {
                frame.values[handle.index()] = std::mem::take(&mut frame.arguments[*number as usize]);
            }
            other if other.needs_pre_emit() => frame.values[handle.index()] = vec![self.one(frame, handle, 0)?],
            Expression::Compose { components, .. } if components.iter().all(|operand| is_known(frame, operand)) => {
                self.evaluate(frame, handle, active)?;
            }
            Expression::Splat { value, .. } if is_known(frame, value) => self.evaluate(frame, handle, active)?,
            _ => {}
        }
        Ok(())
    }

    /// Counts steps.
    pub(crate) fn step(&mut self, count: usize) -> Result<(), Fault> {
        self.steps = self.steps.checked_sub(count as u64).ok_or(Fault::TooLong)?;
        Ok(())
    }

    /// Notes what is wrong where the machine is.
    pub(crate) fn find(&mut self, kind: Kind, what: String) {
        let line = if self.span.is_defined() { self.span.location(self.text).line_number } else { 0 };
        // One of each kind and line is enough to know, and a loop may have thousands.
        if !self.findings.iter().any(|finding| finding.kind == kind && finding.line == line) {
            let source = self.text.lines().nth((line as usize).saturating_sub(1)).unwrap_or_default();
            self.findings.insert(Finding { kind, line, source: source.trim().to_owned(), what });
        }
    }

    /// The type of an expression.
    pub(crate) fn ty(&self, frame: &Frame<'m>, handle: Handle<Expression>) -> &'m TypeInner {
        frame.info[handle].ty.inner_with(&self.module.types)
    }
}
