//! What can go wrong between a data set's name and its arrays.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use super::TextError;

/// How a data source is named.
pub(super) const SOURCES: &str = "digits, plays, mnist, fashion-mnist, cifar10, cifar100, idx:DIR, cifar:DIR, folder:DIR, folder:DIR@HxW, text:FILE, \
     text:FILE@bytes, tokens:FILE or tokens:FILE@VOCABULARY";

/// An error of the data room. Each message is one whole sentence that names the file, the place in it, what was
/// expected and what was found.
///
/// An `offset` counts bytes of the data, that is after decompression where the file is gzip.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The text names no data source.
    #[error("unknown data source `{found}`: expected {}", SOURCES)]
    UnknownSource {
        /// The text given.
        found: String,
    },

    /// The folder given is none.
    #[error("{path}: expected a folder with {files}, found no such folder")]
    NoFolder {
        /// The folder given.
        path: PathBuf,
        /// What it should hold.
        files: &'static str,
    },

    /// A folder lacks a file of its data set.
    #[error("{dir}: expected the {role} in one of {}, found none of them", list(.names))]
    MissingFile {
        /// What the file holds, such as "training images".
        role: &'static str,
        /// The folder that was searched.
        dir: PathBuf,
        /// The names that were tried, best first.
        names: Vec<String>,
    },

    /// A data set that does not come with this crate is in none of its usual folders.
    #[error("{name}: expected the {files} in one of {}, found them in none; {advice}", list(.searched))]
    NotInstalled {
        /// The data set.
        name: &'static str,
        /// Its files, in words.
        files: &'static str,
        /// The folders that were searched, in order.
        searched: Vec<String>,
        /// How to get the files.
        advice: &'static str,
    },

    /// The operating system refused to read a file.
    // The cause is part of the message, and so is not `source()` too: a printed chain would say it twice.
    #[error("{path}: at offset {offset}, expected to read on, found an error: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Bytes read before the error.
        offset: u64,
        /// The system's error.
        cause: io::Error,
    },

    /// A gzip stream is damaged or cut short.
    #[error(
        "{path}: at offset {offset}, expected {expected} bytes from its gzip stream, found it damaged or cut short: {cause}"
    )]
    Gzip {
        /// The file.
        path: PathBuf,
        /// Bytes decompressed before the error.
        offset: u64,
        /// Bytes the data ought to have: the header alone as long as that is not read.
        expected: u64,
        /// The decompressor's error.
        cause: io::Error,
    },

    /// A gzip stream continues far past what a file of its size may hold.
    #[error(
        "{path}: at offset {limit}, expected the end of a gzip stream of {stored} bytes, which may swell no further, found \
         more bytes; decompress the file if it is sound"
    )]
    Swells {
        /// The file.
        path: PathBuf,
        /// The most bytes accepted.
        limit: u64,
        /// Bytes of the file itself.
        stored: u64,
    },

    /// The first four bytes are not the magic number of the file's role.
    #[error(
        "{path}: at offset 0, expected the magic number {expected:#010x} of an IDX {role} file, found {found:#010x}, {kind}"
    )]
    Magic {
        /// The file.
        path: PathBuf,
        /// "image" or "label".
        role: &'static str,
        /// The magic number of that role.
        expected: u32,
        /// The magic number of the file.
        found: u32,
        /// What a file with that magic number is.
        kind: &'static str,
    },

    /// A header gives a dimension as 0.
    #[error("{path}: at offset {offset}, expected at least one {unit}, found 0")]
    ZeroDimension {
        /// The file.
        path: PathBuf,
        /// Where the dimension stands.
        offset: u64,
        /// What the dimension counts: "record", "row" or "column".
        unit: &'static str,
    },

    /// A header claims more data than this crate takes into memory.
    #[error("{path}: at offset 4, expected dimensions of at most {limit} bytes in all, found {}", product(.found))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes of data accepted.
        limit: u64,
        /// The header's dimensions.
        found: Vec<u32>,
    },

    /// The data end before the size that the header claims.
    #[error("{path}: at offset {found}, expected {expected} bytes in all, found the end of the data")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes of header and records, or of the header alone where that is cut short.
        expected: u64,
        /// Bytes present, which is also the offset where they end.
        found: u64,
    },

    /// The data go on after the size that the header claims.
    #[error("{path}: at offset {expected}, expected the end of the data, found more bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes of header and records.
        expected: u64,
    },

    /// An image file and its label file hold different numbers of records.
    #[error("{labels}: at offset 4, expected {expected} labels as {images} has images, found {found}")]
    CountMismatch {
        /// The image file.
        images: PathBuf,
        /// The label file.
        labels: PathBuf,
        /// Images.
        expected: usize,
        /// Labels.
        found: usize,
    },

    /// The test images have another size than the training images.
    #[error("{test}: at offset 8, expected images of {} (rows x columns) as in {train}, found {}", product(.expected), product(.found))]
    ShapeMismatch {
        /// The training images' file.
        train: PathBuf,
        /// The test images' file.
        test: PathBuf,
        /// Rows and columns of the training images.
        expected: [usize; 2],
        /// Rows and columns of the test images.
        found: [usize; 2],
    },

    /// A file of fixed records is empty or ends within a record.
    #[error("{path}: expected a whole number of records of {record} bytes, found {found} bytes")]
    Records {
        /// The file.
        path: PathBuf,
        /// Bytes of a record.
        record: usize,
        /// Bytes of the file.
        found: usize,
    },

    /// A label is not below the number of classes.
    #[error("{path}: at offset {offset}, expected a label below {classes}, found {found}")]
    Label {
        /// The file.
        path: PathBuf,
        /// Where the label stands.
        offset: usize,
        /// Classes of the data set.
        classes: usize,
        /// The label.
        found: u32,
    },

    /// A data set has not as many pixels as its samples need.
    #[error("{name}: expected {samples} samples of {features} pixels each, found {found} pixels")]
    PixelCount {
        /// The data set.
        name: String,
        /// Samples.
        samples: usize,
        /// Pixels of a sample, all channels.
        features: usize,
        /// Pixels there are.
        found: usize,
    },

    /// Targets in memory do not make whole samples.
    #[error("{name}: expected {per_sample} target values for each sample, found {found} in all")]
    TargetCount {
        /// The data set.
        name: String,
        /// Values that a sample has.
        per_sample: usize,
        /// Values there are.
        found: usize,
    },

    /// A value in memory is no number, or an infinite one.
    #[error("{name}: at {what} {value} of sample {sample}, expected a finite number, found none")]
    NotFinite {
        /// The data set.
        name: String,
        /// Value or target.
        what: &'static str,
        /// The sample.
        sample: usize,
        /// The value's place in its sample.
        value: usize,
    },

    /// A label in memory is not below the number of classes.
    #[error("{name}: at sample {sample}, expected a label below {classes}, found {found}")]
    SampleLabel {
        /// The data set.
        name: String,
        /// The sample, counted from 0.
        sample: usize,
        /// Classes of the data set.
        classes: usize,
        /// The label.
        found: u32,
    },

    /// A folder of images has no class folder, or one of those no image.
    #[error("{dir}: expected {expected}, found none")]
    EmptyFolder {
        /// The folder.
        dir: PathBuf,
        /// What ought to be there.
        expected: &'static str,
    },

    /// A class folder of the one part is not in the other.
    #[error("{dir}: expected the class folders of the training images, {}, found {}", list(.expected), list(.found))]
    ClassFolders {
        /// The folder of the test images.
        dir: PathBuf,
        /// Classes of the training images.
        expected: Vec<String>,
        /// Classes of the test images.
        found: Vec<String>,
    },

    /// An image cannot be decoded.
    #[error("{path}: expected a PNG or JPEG image, found what does not decode: {cause}")]
    Image {
        /// The file.
        path: PathBuf,
        /// The decoder's error.
        cause: image::ImageError,
    },

    /// An image claims more pixels than a file of its size may hold.
    #[error(
        "{path}: expected an image of at most {limit} bytes in a file of {stored}, found a header that claims {found}"
    )]
    ImageTooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes of pixels accepted.
        limit: u64,
        /// Bytes of the file itself.
        stored: u64,
        /// Bytes of pixels claimed.
        found: u64,
    },

    /// The images of a folder are more than this crate takes into memory.
    #[error(
        "{dir}: expected images of at most {limit} bytes in all, found {count} of {} bytes (rows x columns x channels)",
        product(.found)
    )]
    FolderTooLarge {
        /// The folder.
        dir: PathBuf,
        /// The most bytes accepted.
        limit: u64,
        /// Images.
        count: usize,
        /// Rows, columns and channels of each.
        found: [usize; 3],
    },

    /// An image is not of the size of the first.
    #[error(
        "{path}: expected an image of {} (rows x columns) as {first} is, found {}; `folder:DIR@HxW` resizes all",
        product(.expected),
        product(.found)
    )]
    ImageSize {
        /// The file.
        path: PathBuf,
        /// The file that set the size.
        first: PathBuf,
        /// Its rows and columns.
        expected: [usize; 2],
        /// Rows and columns of this one.
        found: [usize; 2],
    },

    /// The bundled digits are not what they were when this crate was published.
    #[error("{file}: at line {line}, expected {expected}, found {found}")]
    Digits {
        /// The bundled file.
        file: &'static str,
        /// The line, counted from 1.
        line: usize,
        /// What ought to be there.
        expected: String,
        /// What is there.
        found: String,
    },

    /// A text.
    #[error(transparent)]
    Text(#[from] TextError),

    /// A subset of an impossible size was asked for.
    #[error("subset of {name}: expected a size from 1 to {len}, found {n}")]
    SubsetSize {
        /// The data set.
        name: String,
        /// The size asked for.
        n: usize,
        /// The samples there are.
        len: usize,
    },
}

fn list(items: &[String]) -> String {
    items.join(", ")
}

fn product<T: Display>(dimensions: &[T]) -> String {
    dimensions.iter().map(T::to_string).collect::<Vec<_>>().join(" x ")
}
