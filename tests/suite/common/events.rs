//! Reads event files as far as the tests need it; TensorBoard's own reader is asked by `scripts/read_events.py`.

use std::path::{Path, PathBuf};

/// A value of a field of a message.
#[derive(Clone, Debug, PartialEq)]
enum Field {
    Whole(u64),
    Bytes(Vec<u8>),
}

/// What an event holds, its time aside.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    pub step: u64,
    pub tag: String,
    /// The number of the field that says which kind of value it is.
    pub kind: u32,
    /// The value as it is written.
    pub bytes: Vec<u8>,
}

impl Logged {
    pub fn is_scalar(&self) -> bool {
        self.kind == 2
    }

    pub fn scalar(&self) -> f32 {
        assert!(self.is_scalar(), "{self:?}");
        f32::from_le_bytes(self.bytes[..].try_into().unwrap())
    }

    /// The doubles of a field of a histogram.
    pub fn doubles(&self, field: u32) -> Vec<f64> {
        let found = fields(&self.bytes).into_iter().find(|(number, _)| *number == field);
        let Some((_, Field::Bytes(bytes))) = found else { panic!("{found:?}") };
        bytes.chunks_exact(8).map(|chunk| f64::from_le_bytes(chunk.try_into().unwrap())).collect()
    }

    /// Whether these bytes are somewhere in the value.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        self.bytes.windows(bytes.len()).any(|window| window == bytes)
    }
}

pub fn event_file(run: &Path) -> PathBuf {
    run.join("events.out.tfevents.0.jostle")
}

/// What the events of a run hold, in their order.
pub fn events(run: &Path) -> Vec<Logged> {
    let bytes = std::fs::read(event_file(run)).unwrap();
    let (mut rest, mut logged, mut first) = (&bytes[..], Vec::new(), true);
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let event = fields(&rest[12..12 + length]);
        rest = &rest[16 + length..];
        if std::mem::take(&mut first) {
            assert!(event.contains(&(3, Field::Bytes(b"brain.Event:2".to_vec()))), "{event:?}");
            continue;
        }
        let step = event.iter().find_map(|(field, value)| match value {
            Field::Whole(step) if *field == 2 => Some(*step),
            _ => None,
        });
        let summaries = event.iter().filter(|(field, _)| *field == 5);
        let values = summaries.flat_map(|(_, summary)| fields(bytes_of(summary))).map(|(_, value)| value);
        logged.extend(values.map(|value| named(step.unwrap_or(0), bytes_of(&value))));
    }
    logged
}

fn bytes_of(field: &Field) -> &[u8] {
    let Field::Bytes(bytes) = field else { panic!("{field:?}") };
    bytes
}

fn named(step: u64, value: &[u8]) -> Logged {
    let fields = fields(value);
    let tag = String::from_utf8(bytes_of(&fields[0].1).to_vec()).unwrap();
    let (kind, value) = &fields[1];
    Logged { step, tag, kind: *kind, bytes: bytes_of(value).to_vec() }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<(u32, Field)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                fields.push((key as u32 >> 3, Field::Whole(varint(&mut bytes))));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            layout => panic!("layout {layout}"),
        };
        fields.push((key as u32 >> 3, Field::Bytes(bytes[..length].to_vec())));
        bytes = &bytes[length..];
    }
    fields
}
