//! Memory and its shadows.

use std::{collections::BTreeMap, ops::Range, rc::Rc};

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

/// Memory that several invocations reach: whether it is the workgroup's, and which variable or buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Common {
    is_shared: bool,
    number: usize,
}

/// What two invocations touch at once: a unit of such memory.
type Unit = (Common, usize);

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
        let Some((common, at)) = self.common(pointer.object, at) else {
            return match pointer.object {
                Object::Local(place) => {
                    let local = &self.locals[place as usize];
                    let start = (lane * local.size) as usize + at;
                    word(&local.bytes[start..start + width], scalar)
                }
                _ => word(&self.immediates[at..at + width], scalar),
            };
        };
        let spoilt = self.note(lane, common, at..at + width, false);
        let nonsense = self.spoilt.nonsense;
        word(if spoilt { &nonsense[..width] } else { &self.watched(common).bytes[at..at + width] }, scalar)
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
        let Some((common, at)) = self.common(pointer.object, at) else {
            let Object::Local(place) = pointer.object else { return Err(Fault::unknown("a store to immediates")) };
            let local = &mut self.locals[place as usize];
            let start = (lane * local.size) as usize + at;
            return put_word(&mut local.bytes[start..start + width], scalar, value);
        };
        // WGSL lets a store to a component write the whole vector.
        let [before, rest] = pointer.vector.map_or([0, width], |vector| vector.map(|bytes| bytes as usize));
        self.note(lane, common, at - before..at + rest, true);
        put_word(&mut self.watched(common).bytes[at..at + width], scalar, value)
    }

    /// The memory that an object lies in, and a byte of the object there; nothing for what each invocation has to itself.
    fn common(&self, object: Object, at: usize) -> Option<(Common, usize)> {
        match object {
            Object::Shared(place) => Some((Common { is_shared: true, number: place as usize }, at)),
            Object::Buffer(binding) => {
                let Bound { buffer, start, .. } = self.bound[binding as usize];
                Some((Common { is_shared: false, number: buffer }, start as usize + at))
            }
            Object::Local(_) | Object::Immediate => None,
        }
    }

    fn watched(&mut self, common: Common) -> &mut Watched {
        let all = if common.is_shared { &mut self.shared } else { &mut self.buffers };
        &mut all[common.number]
    }

    /// Notes that an invocation touches bytes, and what is wrong with it. Whether what it reads is to be spoilt, because it is known to
    /// race.
    fn note(&mut self, lane: u32, common: Common, bytes: Range<usize>, writes: bool) -> bool {
        let epoch = self.epochs[usize::from(common.is_shared)];
        let actor = Actor { workgroup: self.workgroup, epoch, lane };
        let (at, unit) = (bytes.start, UNIT as usize);
        let units = at / unit..bytes.end.div_ceil(unit);
        let (mut race, mut unwritten, mut spoilt) = (None, false, false);
        for place in units {
            let key = (common, place);
            if writes {
                let (before, is_write) = self.watched(common).shadows.at(place).write(actor);
                if before.is_some() && !is_write {
                    self.races.entry(key).or_default().push(actor);
                }
                self.is_torn |= is_write;
                race = race.or(before);
            } else {
                let shadow = self.watched(common).shadows.at(place);
                unwritten |= common.is_shared && !shadow.is_written(actor.workgroup);
                let before = shadow.read(actor);
                spoilt |= self.spoilt.races.get(&key).is_some_and(|all| all.iter().any(|writer| writer.races(actor)));
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
