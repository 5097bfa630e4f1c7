//! Who has touched which bytes, and whether two invocations may have at once.

use std::collections::BTreeMap;

/// Bytes that share a shadow: the smallest scalar.
pub(crate) const UNIT: u32 = 2;

/// An invocation between two barriers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    /// Number of the workgroup.
    pub(crate) workgroup: u32,
    /// Barriers that it has passed.
    pub(crate) epoch: u32,
    /// Number in the workgroup.
    pub(crate) lane: u32,
}

impl Actor {
    /// Whether nothing orders what the two do.
    pub(crate) fn races(self, other: Self) -> bool {
        self.workgroup != other.workgroup || (self.epoch == other.epoch && self.lane != other.lane)
    }
}

/// What has been done to a unit: the last write, the last two reads by different invocations of the workgroup that read last, and the
/// last one by another. Of more readers these stand for all: a write that races with any of them races with one of these.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shadow {
    write: Option<Actor>,
    reads: [Option<Actor>; 2],
    foreign_read: Option<Actor>,
}

impl Shadow {
    /// Whether it has been written by the workgroup.
    pub(crate) fn is_written(&self, workgroup: u32) -> bool {
        self.write.is_some_and(|write| write.workgroup == workgroup)
    }

    /// Notes a read; with which write it races.
    pub(crate) fn read(&mut self, actor: Actor) -> Option<Actor> {
        match self.reads[0] {
            Some(last) if last.workgroup != actor.workgroup => {
                self.foreign_read = Some(last);
                self.reads = [Some(actor), None];
            }
            Some(last) if last.lane != actor.lane => self.reads = [Some(actor), Some(last)],
            _ => self.reads[0] = Some(actor),
        }
        self.write.filter(|write| write.races(actor))
    }

    /// Notes a write; with what it races, and whether that is a write.
    pub(crate) fn write(&mut self, actor: Actor) -> (Option<Actor>, bool) {
        let races = |before: Option<Actor>| before.filter(|before| before.races(actor));
        let write = races(self.write);
        self.write = Some(actor);
        let read = [self.reads[0], self.reads[1], self.foreign_read].into_iter().find_map(races);
        (write.or(read), write.is_some())
    }
}

/// The shadows of an object's units, kept for those pages alone that somebody touches: of large tables a launch sees little.
#[derive(Debug, Default)]
pub(crate) struct Shadows(BTreeMap<usize, Vec<Shadow>>);

/// Units of a page.
const PAGE: usize = 1024;

impl Shadows {
    pub(crate) fn at(&mut self, unit: usize) -> &mut Shadow {
        let page = self.0.entry(unit / PAGE).or_insert_with(|| vec![Shadow::default(); PAGE]);
        &mut page[unit % PAGE]
    }

    /// Units that have been written, in order.
    pub(crate) fn written(&self) -> impl Iterator<Item = usize> {
        let pages = self.0.iter();
        let of_page = |(page, shadows): (&usize, &Vec<Shadow>)| {
            let first = page * PAGE;
            let written = shadows.iter().enumerate().filter(|(_, shadow)| shadow.write.is_some());
            written.map(|(place, _)| first + place).collect::<Vec<_>>()
        };
        pages.flat_map(of_page)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
