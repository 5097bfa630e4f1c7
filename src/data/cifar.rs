//! The binary version of CIFAR-10 and CIFAR-100, plain or gzip.
//!
//! A file is records: one label byte (CIFAR-100: coarse, then fine), then 32 x 32 bytes of red, of green and of blue.
//! Source: <https://www.cs.toronto.edu/~kriz/cifar.html>.

use std::path::{Path, PathBuf};

use super::{
    DataError, Dataset, SampleShape, Split, Targets,
    bytes::{self, Bytes},
};

const SHAPE: SampleShape = SampleShape { channels: 3, height: 32, width: 32 };
/// More bytes than any file of these data sets has; a gzip file that swells could else take all memory.
const MAX_BYTES: u64 = 1 << 28;
/// Mean and standard deviation of red, green and blue as Orvieto et al. (AISTATS 2023) normalise CIFAR-10.
const CIFAR10_MOMENTS: [[f32; 2]; 3] = [[0.4914, 0.2023], [0.4822, 0.1994], [0.4465, 0.2010]];
/// The same for CIFAR-100.
const CIFAR100_MOMENTS: [[f32; 2]; 3] = [[0.5074, 0.2011], [0.4867, 0.1987], [0.4411, 0.2025]];

/// Which of the two a folder holds.
pub(super) struct Kind {
    classes: usize,
    /// Bytes before the pixels, of which the last is the class.
    labels: usize,
    published: &'static [[f32; 2]],
}

pub(super) const CIFAR10: Kind = Kind { classes: 10, labels: 1, published: &CIFAR10_MOMENTS };
pub(super) const CIFAR100: Kind = Kind { classes: 100, labels: 2, published: &CIFAR100_MOMENTS };

/// The training files of CIFAR-10 that are in a folder: any subset of the five will do.
fn batches(dir: &Path) -> Vec<PathBuf> {
    let find = |batch| bytes::find(dir, "training images", &[format!("data_batch_{batch}.bin")]).ok();
    (1..=5).filter_map(find).collect()
}

fn find(dir: &Path, role: &'static str, name: &str) -> Result<PathBuf, DataError> {
    bytes::find(dir, role, &[name.to_owned()])
}

/// Whether a folder holds any file of CIFAR-10.
pub(super) fn is_cifar10(dir: &Path) -> bool {
    !batches(dir).is_empty() || find(dir, "test images", "test_batch.bin").is_ok()
}

/// Whether a folder holds any file of CIFAR-100.
pub(super) fn is_cifar100(dir: &Path) -> bool {
    find(dir, "training images", "train.bin").is_ok() || find(dir, "test images", "test.bin").is_ok()
}

/// Reads CIFAR-100 where `train.bin` or `test.bin` is there, else CIFAR-10.
pub(super) fn load(dir: &Path, name: &str) -> Result<Split, DataError> {
    bytes::expect_folder(dir, "the binary files of CIFAR-10 or CIFAR-100")?;
    let (kind, train, test) = if is_cifar100(dir) {
        (CIFAR100, vec![find(dir, "training images", "train.bin")?], find(dir, "test images", "test.bin")?)
    } else {
        let train = batches(dir);
        if train.is_empty() {
            let names = (1..=5).map(|batch| format!("data_batch_{batch}.bin[.gz]")).collect();
            return Err(DataError::MissingFile { role: "training images", dir: dir.to_owned(), names });
        }
        (CIFAR10, train, find(dir, "test images", "test_batch.bin")?)
    };
    Ok(Split { train: read_part(&train, &kind, name)?, test: read_part(&[test], &kind, name)? })
}

fn read_part(paths: &[PathBuf], kind: &Kind, name: &str) -> Result<Dataset, DataError> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for path in paths {
        read(Bytes::open(path)?, kind, &mut pixels, &mut labels)?;
    }
    Ok(Dataset {
        name: name.to_owned(),
        samples: pixels.into(),
        targets: Targets::Classes { labels, classes: kind.classes },
        shape: SHAPE,
        full_scale: 255.0,
        published: kind.published,
    })
}

/// Appends the samples of one file.
pub(super) fn read(
    mut bytes: Bytes<'_>,
    kind: &Kind,
    pixels: &mut Vec<u8>,
    labels: &mut Vec<u32>,
) -> Result<(), DataError> {
    let path = bytes.path().to_owned();
    let record = kind.labels + SHAPE.features();
    let bytes = bytes.read(MAX_BYTES + 1, record as u64)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(DataError::TooLong { path, expected: MAX_BYTES });
    }
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        return Err(DataError::Records { path, record, found: bytes.len() });
    }
    for (index, sample) in bytes.chunks_exact(record).enumerate() {
        let found = u32::from(sample[kind.labels - 1]);
        if found as usize >= kind.classes {
            let offset = index * record + kind.labels - 1;
            return Err(DataError::Label { path, offset, classes: kind.classes, found });
        }
        labels.push(found);
        pixels.extend_from_slice(&sample[kind.labels..]);
    }
    Ok(())
}
