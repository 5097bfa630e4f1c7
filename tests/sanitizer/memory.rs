//! Memory and its shadows.

use std::{collections::BTreeMap, rc::Rc};

use naga::{Handle, Scalar, Type};

use crate::{
    Fault, Kind,
    layout::{leaves, put_word, size, word},
    machine::Machine,
    shadow::{Actor, Shadows, UNIT},
    value::{Object, Pointer, Words, try_each_word},
};

/// Bytes that several invocations reach, and who has.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) bytes: Vec<u8>,
    pub(crate) shadows: Shadows,
}

impl Watched {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, shadows: Shadows::default() }
    }
}

/// A variable of each invocation.
#[derive(Debug)]
pub(crate) struct Local {
    /// Bytes of one invocation's.
    pub(crate) size: u32,
    pub(crate) bytes: Vec<u8>,
}

/// A part of a buffer that a kernel is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// Place among the buffers.
    pub(crate) buffer: usize,
    /// First byte, how many of the tensor, and how many that are bound, which are whole vec4s.
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) bound: u32,
}

/// The scalars of types, which every load asks for.
pub(crate) type Leaves = BTreeMap<Handle<Type>, Rc<[(u32, Scalar)]>>;

/// What workgroup memory holds before it is written: NaN, whole and in halves.
const POISON: [u8; 4] = 0x7FC0_7FC0_u32.to_le_bytes();

/// What a read finds that races, a run each: NaN, what is large as f32 and as f16, and nothing.
pub(crate) const NONSENSE: [[u8; 4]; 3] = [POISON, 0x7B00_7B00_u32.to_le_bytes(), [0; 4]];

/// Races whose readers find nonsense in a run, and which.
#[derive(Debug, Default)]
pub(crate) struct Spoilt {
    pub(crate) races: Races,
    pub(crate) nonsense: [u8; 4],
}

/// What two invocations touch at once: whether it is the workgroup's memory, which variable or buffer, and which unit of it.
type Unit = (bool, usize, usize);

/// Units that somebody reads while another one writes, and the writer.
pub(crate) type Races = BTreeMap<Unit, Vec<Actor>>;

impl Machine<'_> {
    /// Puts a workgroup's memory back to what nobody has written.
    pub(crate) fn forget_shared(&mut self) {
        for shared in &mut self.shared {
            let len = shared.bytes.len();
            shared.bytes.clear();
            shared.bytes.extend(POISON.iter().cycle().take(len));
            shared.shadows.clear();
        }
    }

    /// A new variable of each invocation, zero.
    pub(crate) fn push_local(&mut self, ty: Handle<Type>) -> Result<Pointer, Fault> {
        let size = size(self.module, &self.module.types[ty].inner)?.max(1);
        self.locals.push(Local { size, bytes: vec![0; size as usize * self.lanes as usize] });
        Ok(Pointer::to(Object::Local(self.locals.len() as u32 - 1)))
    }

    /// Bytes of what a pointer points into.
    pub(crate) fn object_len(&self, object: Object) -> u32 {
        match object {
            Object::Local(place) => self.locals[place as usize].size,
            Object::Shared(place) => self.shared[place as usize].bytes.len() as u32,
            Object::Buffer(binding) => self.bound[binding as usize].len,
            Object::Immediate => self.immediates.len() as u32,
        }
    }

    /// Bytes of what WGSL's arrayLength sees.
    pub(crate) fn bound_len(&self, object: Object) -> u32 {
        match object {
            Object::Buffer(binding) => self.bound[binding as usize].bound,
            other => self.object_len(other),
        }
    }

    fn leaves_of(&mut self, ty: Handle<Type>) -> Result<Rc<[(u32, Scalar)]>, Fault> {
        if let Some(leaves) = self.leaves.get(&ty) {
            return Ok(Rc::clone(leaves));
        }
        let found: Rc<[_]> = leaves(self.module, &self.module.types[ty].inner)?.into();
        self.leaves.insert(ty, Rc::clone(&found));
        Ok(found)
    }

    pub(crate) fn load(&mut self, lane: u32, pointer: Pointer, ty: Handle<Type>) -> Result<Words, Fault> {
        let leaves = self.leaves_of(ty)?;
        try_each_word(leaves.len(), |place| self.load_scalar(lane, pointer, leaves[place].0, leaves[place].1))
    }

    pub(crate) fn store(&mut self, lane: u32, pointer: Pointer, ty: Handle<Type>, words: &Words) -> Result<(), Fault> {
        let leaves = self.leaves_of(ty)?;
        for ((offset, scalar), word) in leaves.iter().zip(words) {
            self.store_scalar(lane, pointer, *offset, *scalar, *word)?;
        }
        Ok(())
    }

    /// The first of the bytes of a scalar within its memory, unless they are outside, which is a finding.
    fn place(&mut self, pointer: Pointer, offset: u32, scalar: Scalar) -> Option<usize> {
        let at = u64::from(pointer.offset) + u64::from(offset);
        let len = self.object_len(pointer.object);
        if pointer.is_outside || at + u64::from(scalar.width) > u64::from(len) {
            let kind = if matches!(pointer.object, Object::Buffer(_)) { Kind::Outside } else { Kind::PastEnd };
            self.find(kind, format!("byte {at} of {len}"));
            return None;
        }
        Some(at as usize)
    }

    pub(crate) fn load_scalar(
        &mut self,
        lane: u32,
        pointer: Pointer,
        offset: u32,
        scalar: Scalar,
    ) -> Result<u32, Fault> {
        let Some(at) = self.place(pointer, offset, scalar) else { return Ok(0) };
        let width = usize::from(scalar.width);
        match pointer.object {
            Object::Local(place) => {
                let local = &self.locals[place as usize];
                let start = (lane * local.size) as usize + at;
                word(&local.bytes[start..start + width], scalar)
            }
            Object::Immediate => word(&self.immediates[at..at + width], scalar),
            Object::Shared(place) => {
                let spoilt = self.note(lane, pointer.object, at, width, false);
                let nonsense = &self.spoilt.nonsense[..width];
                word(if spoilt { nonsense } else { &self.shared[place as usize].bytes[at..at + width] }, scalar)
            }
            Object::Buffer(binding) => {
                let bound = self.bound[binding as usize];
                let at = bound.start as usize + at;
                let spoilt = self.note(lane, pointer.object, at, width, false);
                let nonsense = &self.spoilt.nonsense[..width];
                word(if spoilt { nonsense } else { &self.buffers[bound.buffer].bytes[at..at + width] }, scalar)
            }
        }
    }

    pub(crate) fn store_scalar(
        &mut self,
        lane: u32,
        pointer: Pointer,
        offset: u32,
        scalar: Scalar,
        value: u32,
    ) -> Result<(), Fault> {
        let Some(at) = self.place(pointer, offset, scalar) else { return Ok(()) };
        let width = usize::from(scalar.width);
        // WGSL lets a store to a component write the whole vector.
        let [before, rest] = pointer.vector.map_or([0, width], |vector| vector.map(|bytes| bytes as usize));
        match pointer.object {
            Object::Local(place) => {
                let local = &mut self.locals[place as usize];
                let start = (lane * local.size) as usize + at;
                put_word(&mut local.bytes[start..start + width], scalar, value)
            }
            Object::Immediate => Err(Fault::unknown("a store to immediates")),
            Object::Shared(place) => {
                self.note(lane, pointer.object, at - before, before + rest, true);
                put_word(&mut self.shared[place as usize].bytes[at..at + width], scalar, value)
            }
            Object::Buffer(binding) => {
                let bound = self.bound[binding as usize];
                let at = bound.start as usize + at;
                self.note(lane, pointer.object, at - before, before + rest, true);
                put_word(&mut self.buffers[bound.buffer].bytes[at..at + width], scalar, value)
            }
        }
    }

    /// Notes that an invocation touches bytes, and what is wrong with it. Whether what it reads is to be spoilt, because it is known to
    /// race.
    fn note(&mut self, lane: u32, object: Object, at: usize, width: usize, writes: bool) -> bool {
        let is_shared = matches!(object, Object::Shared(_));
        let epoch = self.epochs[usize::from(is_shared)];
        let actor = Actor { workgroup: self.workgroup, epoch, lane };
        let (number, watched) = match object {
            Object::Shared(place) => (place as usize, &mut self.shared[place as usize]),
            Object::Buffer(binding) => {
                let number = self.bound[binding as usize].buffer;
                (number, &mut self.buffers[number])
            }
            Object::Local(_) | Object::Immediate => return false,
        };
        let unit = UNIT as usize;
        let units = at / unit..(at + width).div_ceil(unit);
        let (mut race, mut unwritten, mut spoilt) = (None, false, false);
        for place in units {
            let shadow = watched.shadows.at(place);
            let key = (is_shared, number, place);
            if writes {
                let (before, is_write) = shadow.write(actor);
                if before.is_some() && !is_write {
                    self.races.entry(key).or_default().push(actor);
                }
                self.is_torn |= is_write;
                race = race.or(before);
            } else {
                unwritten |= is_shared && !shadow.is_written(actor.workgroup);
                spoilt |= self.spoilt.races.get(&key).is_some_and(|all| all.iter().any(|writer| writer.races(actor)));
                let before = shadow.read(actor);
                if let Some(writer) = before {
                    self.races.entry(key).or_default().push(writer);
                }
                race = race.or(before);
            }
        }
        if unwritten {
            self.find(Kind::Unwritten, format!("byte {at} of the workgroup's memory, by invocation {lane}"));
        }
        if let Some(other) = race {
            let way = if writes { "writes" } else { "reads" };
            let [own, others] = [actor, other].map(|actor| format!("{} of workgroup {}", actor.lane, actor.workgroup));
            self.find(Kind::Race, format!("invocation {own} {way} byte {at}, which {others} touches"));
        }
        spoilt
    }
}
