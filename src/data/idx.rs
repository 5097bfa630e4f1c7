//! The IDX format of MNIST and its kin, plain or gzip.
//!
//! A file is a big-endian header, the magic number and a `u32` for each dimension, and then the values. The magic
//! number holds the type of the values (8: `u8`) and the number of dimensions: 3 for images (record, row, column), 1 for
//! labels.

use std::path::{Path, PathBuf};

use super::{
    DataError, Dataset, SampleShape, Split, Targets,
    bytes::{self, Bytes},
};

const IMAGES: u32 = 0x0000_0803;
const LABELS: u32 = 0x0000_0801;
/// The most values accepted in one file. A damaged header or a small gzip file that swells could else take all memory.
const MAX_VALUES: u64 = 1 << 32;
const FULL_SCALE: f32 = 255.0;

/// The four files of a data set in one folder.
const TRAIN_IMAGES: Role = Role { name: "training images", stem: "train-images", suffix: "idx3-ubyte" };
const TRAIN_LABELS: Role = Role { name: "training labels", stem: "train-labels", suffix: "idx1-ubyte" };
const TEST_IMAGES: Role = Role { name: "test images", stem: "t10k-images", suffix: "idx3-ubyte" };
const TEST_LABELS: Role = Role { name: "test labels", stem: "t10k-labels", suffix: "idx1-ubyte" };

struct Role {
    name: &'static str,
    stem: &'static str,
    suffix: &'static str,
}

impl Role {
    fn find(&self, dir: &Path) -> Result<PathBuf, DataError> {
        let (stem, suffix) = (self.stem, self.suffix);
        bytes::find(dir, self.name, &[format!("{stem}-{suffix}"), format!("{stem}.{suffix}")])
    }
}

/// Whether a folder holds any of the four files, and so is meant to be a data set.
pub(super) fn is_present(dir: &Path) -> bool {
    [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS].iter().any(|role| role.find(dir).is_ok())
}

/// Reads the four files of `dir`. There are as many classes as the highest label of either part asks for.
pub(super) fn load(dir: &Path, name: &str) -> Result<Split, DataError> {
    bytes::expect_folder(dir, "the four IDX files")?;
    // All four are looked for before the first is read: a missing one shows at once.
    let (train_images, train_labels) = (TRAIN_IMAGES.find(dir)?, TRAIN_LABELS.find(dir)?);
    let (test_images, test_labels) = (TEST_IMAGES.find(dir)?, TEST_LABELS.find(dir)?);

    let mut train = read_part(&train_images, &train_labels, name)?;
    let mut test = read_part(&test_images, &test_labels, name)?;
    if train.shape != test.shape {
        let size = |part: &Dataset| [part.shape.height, part.shape.width];
        let (expected, found) = (size(&train), size(&test));
        return Err(DataError::ShapeMismatch { train: train_images, test: test_images, expected, found });
    }
    // A class that the test part lacks is one all the same.
    let all = train.targets.outputs().max(test.targets.outputs());
    for part in [&mut train, &mut test] {
        if let Targets::Classes { classes, .. } = &mut part.targets {
            *classes = all;
        }
    }
    Ok(Split { train, test })
}

fn read_part(images: &Path, labels: &Path, name: &str) -> Result<Dataset, DataError> {
    let ([count, height, width], pixels) = read_images(Bytes::open(images)?)?;
    let ([label_count], classes) = read_labels(Bytes::open(labels)?)?;
    if count != label_count {
        let (images, labels) = (images.to_owned(), labels.to_owned());
        return Err(DataError::CountMismatch { images, labels, expected: count as usize, found: label_count as usize });
    }
    let labels: Vec<u32> = classes.into_iter().map(u32::from).collect();
    Ok(Dataset {
        name: name.to_owned(),
        samples: pixels.into(),
        targets: labels.into(),
        shape: SampleShape { channels: 1, height: height as usize, width: width as usize },
        full_scale: FULL_SCALE,
        published: &[],
    })
}

/// Records, rows and columns of an image file, and its pixels.
pub(super) fn read_images(bytes: Bytes<'_>) -> Result<([u32; 3], Vec<u8>), DataError> {
    read(bytes, "image", IMAGES, ["record", "row", "column"])
}

/// Records of a label file, and its labels.
pub(super) fn read_labels(bytes: Bytes<'_>) -> Result<([u32; 1], Vec<u8>), DataError> {
    read(bytes, "label", LABELS, ["record"])
}

/// The `D` dimensions and the values of one file.
fn read<const D: usize>(
    mut bytes: Bytes<'_>,
    role: &'static str,
    magic: u32,
    units: [&'static str; D],
) -> Result<([u32; D], Vec<u8>), DataError> {
    let path = bytes.path().to_owned();
    let header_len = 4 * (D as u64 + 1);
    let found = bytes.header_field(header_len)?;
    if found != magic {
        return Err(DataError::Magic { path, role, expected: magic, found, kind: kind_of(found) });
    }
    let mut dimensions = [0; D];
    for (dimension, unit) in dimensions.iter_mut().zip(units) {
        let offset = bytes.offset;
        *dimension = bytes.header_field(header_len)?;
        if *dimension == 0 {
            return Err(DataError::ZeroDimension { path, offset, unit });
        }
    }
    let count = dimensions.iter().try_fold(1u64, |product, &d| product.checked_mul(d.into()));
    let Some(count) = count.filter(|&count| count <= MAX_VALUES) else {
        return Err(DataError::TooLarge { path, limit: MAX_VALUES, found: dimensions.to_vec() });
    };
    Ok((dimensions, bytes.rest(count)?))
}

/// What a file with this magic number is, in words for an error.
fn kind_of(magic: u32) -> &'static str {
    match (magic, magic.to_be_bytes()) {
        (IMAGES, _) => "that of an image file",
        (LABELS, _) => "that of a label file",
        (_, [0, 0, 8, 1..=u8::MAX]) => "that of an IDX file with another number of dimensions",
        (_, [0, 0, 9 | 11..=14, 1..=u8::MAX]) => "that of an IDX file of other values than u8",
        _ => "that of no IDX file",
    }
}
