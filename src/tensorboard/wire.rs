//! Protobuf's wire format, as far as events need it.

/// How the value of a field is laid out.
#[derive(Clone, Copy)]
enum Layout {
    Varint = 0,
    Eight = 1,
    Length = 2,
    Four = 5,
}

/// A message, field by field.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn push_varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(mut self, field: u32, layout: Layout) -> Self {
        self.push_varint(u64::from(field << 3 | layout as u32));
        self
    }

    /// A whole number; 0 is what a reader takes a missing field for, and is left out as protobuf's own writers do.
    pub(super) fn whole(self, field: u32, value: u64) -> Self {
        if value == 0 {
            return self;
        }
        let mut message = self.key(field, Layout::Varint);
        message.push_varint(value);
        message
    }

    pub(super) fn float(self, field: u32, value: f32) -> Self {
        let mut message = self.key(field, Layout::Four);
        message.0.extend(value.to_le_bytes());
        message
    }

    pub(super) fn double(self, field: u32, value: f64) -> Self {
        let mut message = self.key(field, Layout::Eight);
        message.0.extend(value.to_le_bytes());
        message
    }

    pub(super) fn bytes(self, field: u32, bytes: &[u8]) -> Self {
        let mut message = self.key(field, Layout::Length);
        message.push_varint(bytes.len() as u64);
        message.0.extend(bytes);
        message
    }

    /// A packed list.
    pub(super) fn doubles(self, field: u32, values: &[f64]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(field, &bytes)
    }

    pub(super) fn message(self, field: u32, message: Self) -> Self {
        self.bytes(field, &message.0)
    }
}
