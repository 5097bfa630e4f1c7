//! Event files as TensorBoard reads them: bytes alone, no files and no networks.
//!
//! A file is a row of records, a record an `Event` in protobuf's wire format; TensorFlow's `event.proto` and `summary.proto` give
//! the numbers of the fields. Scalars, histograms and images are written in the form that TensorBoard has read since its first
//! version and converts itself, text in the newer form of tensors, as it has no other.

mod event;
mod frame;
mod histogram;
mod wire;

pub(crate) use event::{Value, event, version};
pub(crate) use histogram::Histogram;
