//! The keys of a description, one after the other: counts, and numbers with units.

use std::path::Path;

use toml::{Table, Value};

use super::DescriptionError;

/// Units of one kind of quantity, with what they are in the first of all: seconds, bytes, and so on.
type Units = &'static [(&'static str, f64)];

pub(super) const TIME: Units = &[("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3)];
pub(super) const FREQUENCY: Units = &[("MHz", 1e6), ("GHz", 1e9)];
pub(super) const BYTES: Units =
    &[("KiB", 1024.0), ("MiB", 1024.0 * 1024.0), ("GiB", 1024.0 * 1024.0 * 1024.0), ("GB", 1e9)];
pub(super) const BANDWIDTH: Units = &[("GB/s", 1e9), ("TB/s", 1e12)];
pub(super) const BYTES_A_CLOCK: Units = &[("B/clk", 1.0)];
pub(super) const RATE: Units = &[("GFLOP/s", 1e9), ("TFLOP/s", 1e12)];

/// A table of which each key is taken once; what is left over is not known.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    path: &'a Path,
    /// Where the table lies in the file: "matrices.", or nothing.
    prefix: &'static str,
    table: Table,
}

impl<'a> Fields<'a> {
    pub(super) fn new(path: &'a Path, table: Table) -> Self {
        Self { path, prefix: "", table }
    }

    /// That a key is not what it should be.
    pub(super) fn refused(&self, key: &str, expected: &str, found: &str) -> DescriptionError {
        DescriptionError::Key {
            path: self.path.to_owned(),
            key: format!("{}{key}", self.prefix),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }

    fn wrong(&self, key: &str, expected: &str, found: Option<&Value>) -> DescriptionError {
        self.refused(key, expected, &found.map_or_else(|| "nothing".to_owned(), ToString::to_string))
    }

    /// A number of things: at least one.
    pub(super) fn count(&mut self, key: &str) -> Result<u32, DescriptionError> {
        let value = self.table.remove(key);
        let count = value.as_ref().and_then(Value::as_integer).and_then(|count| u32::try_from(count).ok());
        count.filter(|count| *count > 0).ok_or_else(|| self.wrong(key, "a whole number above 0", value.as_ref()))
    }

    /// A quantity above zero, as a text such as "3.35 TB/s", in the units' common one.
    pub(super) fn quantity(&mut self, key: &str, units: Units) -> Result<f64, DescriptionError> {
        let value = self.table.remove(key);
        let read = |text: &str| {
            let (number, unit) = text.split_once(' ')?;
            let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
            let number: f64 = number.parse().ok()?;
            (number > 0.0 && number.is_finite()).then_some(number * factor)
        };
        value.as_ref().and_then(Value::as_str).and_then(read).ok_or_else(|| {
            let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
            let expected = format!("a number above 0, a space and a unit ({}) as a string", names.join(", "));
            self.wrong(key, &expected, value.as_ref())
        })
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, key: &str) -> Result<String, DescriptionError> {
        let value = self.table.remove(key);
        let text = value.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty());
        text.map(str::to_owned).ok_or_else(|| self.wrong(key, "a text", value.as_ref()))
    }

    /// Texts, at least one.
    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<String>, DescriptionError> {
        let value = self.table.remove(key);
        let read = |list: &Vec<Value>| list.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        let texts: Option<Vec<String>> = value.as_ref().and_then(Value::as_array).and_then(read);
        texts.filter(|texts| !texts.is_empty()).ok_or_else(|| self.wrong(key, "a list of texts", value.as_ref()))
    }

    /// A table within this one, where it is.
    pub(super) fn table(&mut self, key: &str, prefix: &'static str) -> Result<Option<Self>, DescriptionError> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(Self { path: self.path, prefix, table })),
            Some(other) => Err(self.wrong(key, "a table", Some(&other))),
        }
    }

    /// Fails if a key is left over.
    pub(super) fn done(self) -> Result<(), DescriptionError> {
        match self.table.iter().next() {
            None => Ok(()),
            Some((key, value)) => Err(self.wrong(key, "a key that is known", Some(value))),
        }
    }
}
