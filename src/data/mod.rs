//! Data sets: bytes in, host arrays out.
//!
//! [`DataSource`] names a data set and loads it as a [`Split`] of two [`Dataset`]s, [`epoch_order`] says in which order
//! an epoch visits the samples. Pixels stay the bytes of the file; [`Dataset::full_scale`] tells what a byte means, so
//! that the device can scale them where it needs them and the host holds a quarter of the memory. Data of one's own may be
//! numbers or tokens instead ([`Samples`]), with classes, vectors or tokens to predict ([`Targets`]). The samples of a text are
//! windows of it ([`Windows`]), whose tokens a [`Vocabulary`] tells the meaning of.
//!
//! ```
//! use jostle::data::{BatchOrder, DataSource, epoch_order};
//!
//! let split = DataSource::Digits.load()?;
//! let train = split.train.subset(1000, 1)?;
//! for batch in epoch_order(train.len(), BatchOrder::Shuffled, 1, 0).chunks(100) {
//!     assert_eq!(batch.len(), 100);
//! }
//! # Ok::<(), jostle::data::DataError>(())
//! ```

mod bytes;
mod cifar;
mod dataset;
mod digits;
mod error;
mod folder;
mod idx;
mod label_noise;
mod moments;
mod order;
mod samples;
mod source;
mod subset;
mod targets;
mod text;
mod text_error;
pub(crate) mod untrusted;
mod vocabulary;
mod windowed;
mod windows;

pub use dataset::Dataset;
pub use error::DataError;
pub use label_noise::LabelNoise;
pub use order::{BatchOrder, epoch_order};
pub use samples::{SampleShape, SampleType, Samples};
pub use source::DataSource;
pub use subset::Parts;
pub use targets::Targets;
pub use text_error::TextError;
pub use vocabulary::{UnknownToken, Vocabulary};
pub use windows::{BLOCK, Windows};

/// A data set's training and test part: same shape, same classes, same scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The samples to train on.
    pub train: Dataset,
    /// The samples to measure generalisation on.
    pub test: Dataset,
}
