//! IDX files, good and bad.

use std::{
    fs,
    io::Write,
    path::{MAIN_SEPARATOR, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use jostle::data::{DataError, DataSource, SampleShape, Split};
use proptest::prelude::*;
use tempfile::TempDir;

const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn idx(magic: u32, dimensions: &[u32], values: &[u8]) -> Vec<u8> {
    let header = [magic].into_iter().chain(dimensions.iter().copied());
    header.flat_map(u32::to_be_bytes).chain(values.iter().copied()).collect()
}

fn images(count: u32, height: u32, width: u32) -> Vec<u8> {
    let values: Vec<u8> = (0..count * height * width).map(|i| (i * 7) as u8).collect();
    idx(0x803, &[count, height, width], &values)
}

fn labels(values: &[u8]) -> Vec<u8> {
    idx(0x801, &[values.len() as u32], values)
}

/// A folder of three training and two test images, 4 rows by 5 columns, of classes 0 to 6.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.put(TRAIN_IMAGES, &images(3, 4, 5));
        folder.put(TRAIN_LABELS, &labels(&[2, 0, 1]));
        folder.put(TEST_IMAGES, &images(2, 4, 5));
        folder.put(TEST_LABELS, &labels(&[6, 1]));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn load(&self) -> Result<Split, DataError> {
        DataSource::Idx(self.0.path().to_owned()).load()
    }

    /// The error's message with the folder's own path cut out.
    fn message(&self) -> String {
        let message = self.load().map(|_| ()).unwrap_err().to_string();
        message.replace(&format!("{}{MAIN_SEPARATOR}", self.0.path().display()), "")
    }

    /// The message with these bytes as the training images.
    fn message_of(&self, train_images: &[u8]) -> String {
        self.put(TRAIN_IMAGES, train_images);
        self.message()
    }
}

#[test]
fn idx_round_trip_plain_gzip_and_dotted() {
    let folder = Folder::new();
    let split = folder.load().unwrap();
    assert_eq!(split.train.name, format!("idx:{}", folder.0.path().display()));
    assert_eq!(split.train.shape, SampleShape { channels: 1, height: 4, width: 5 });
    assert_eq!(split.train.samples.as_bytes(), &images(3, 4, 5)[16..]);
    assert_eq!((split.train.targets.labels(), split.test.targets.labels()), ([2, 0, 1].as_slice(), [6, 1].as_slice()));
    assert_eq!((split.train.targets.outputs(), split.test.targets.outputs(), split.train.full_scale), (7, 7, 255.0));
    assert_eq!(split.train.sample(1), Some((&images(3, 4, 5)[36..56], 0)));
    assert_eq!(split.train.sample(3), None);
    assert_eq!(split.train.sample(usize::MAX), None);

    for name in [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS] {
        let bytes = fs::read(folder.path(name)).unwrap();
        fs::remove_file(folder.path(name)).unwrap();
        folder.put(&(name.replace("-idx", ".idx") + ".gz"), &gzip(&bytes));
    }
    assert_eq!(folder.load().unwrap(), split);
}

#[test]
fn gzip_is_told_by_content_and_may_have_members() {
    let folder = Folder::new();
    let whole = folder.load().unwrap();
    let bytes = images(3, 4, 5);
    folder.put(TRAIN_IMAGES, &[gzip(&bytes[..30]), gzip(&bytes[30..])].concat());
    assert_eq!(folder.load().unwrap(), whole);
}

#[test]
fn missing_files_are_named_with_what_was_looked_for() {
    let folder = Folder::new();
    fs::remove_file(folder.path(TEST_LABELS)).unwrap();
    let dir = folder.0.path().display();
    assert_eq!(
        folder.load().unwrap_err().to_string(),
        format!(
            "{dir}: expected the test labels in one of t10k-labels-idx1-ubyte, t10k-labels.idx1-ubyte, \
             t10k-labels-idx1-ubyte.gz, t10k-labels.idx1-ubyte.gz, found none of them"
        )
    );
    assert_eq!(
        DataSource::Idx("/no/such".into()).load().unwrap_err().to_string(),
        "/no/such: expected a folder with the four IDX files, found no such folder"
    );
}

#[test]
fn wrong_magic_numbers_are_explained() {
    let folder = Folder::new();
    let expected = |found| {
        format!("{TRAIN_IMAGES}: at offset 0, expected the magic number 0x00000803 of an IDX image file, found {found}")
    };
    for (bytes, found) in [
        (labels(&[1, 2, 3]), "0x00000801, that of a label file"),
        (idx(0x804, &[1, 1, 1, 1], &[0]), "0x00000804, that of an IDX file with another number of dimensions"),
        (idx(0xd03, &[1, 1, 1], &[0; 4]), "0x00000d03, that of an IDX file of other values than u8"),
        (b"\x89PNG\r\n".to_vec(), "0x89504e47, that of no IDX file"),
    ] {
        assert_eq!(folder.message_of(&bytes), expected(found));
        assert_eq!(folder.message_of(&gzip(&bytes)), expected(found));
    }
    folder.put(TRAIN_IMAGES, &images(3, 4, 5));
    folder.put(TRAIN_LABELS, &images(3, 4, 5));
    assert_eq!(
        folder.message(),
        "train-labels-idx1-ubyte: at offset 0, expected the magic number 0x00000801 of an IDX label file, \
         found 0x00000803, that of an image file"
    );
}

#[test]
fn lengths_must_be_exact() {
    let folder = Folder::new();
    let bytes = images(3, 4, 5);
    let end = |found, expected| {
        format!("{TRAIN_IMAGES}: at offset {found}, expected {expected} bytes in all, found the end of the data")
    };
    for (len, expected) in [(0, 16), (1, 16), (3, 16), (4, 16), (15, 16), (16, 76), (75, 76)] {
        assert_eq!(folder.message_of(&bytes[..len]), end(len, expected));
        assert_eq!(folder.message_of(&gzip(&bytes[..len])), end(len, expected));
    }
    let longer = [bytes.as_slice(), &[0; 9]].concat();
    let message = format!("{TRAIN_IMAGES}: at offset 76, expected the end of the data, found more bytes");
    assert_eq!(folder.message_of(&longer), message);
    assert_eq!(folder.message_of(&gzip(&longer)), message);
}

#[test]
fn damaged_gzip_is_told() {
    let folder = Folder::new();
    let whole = gzip(&images(3, 4, 5));
    let start = format!("{TRAIN_IMAGES}: at offset");
    let cut = folder.message_of(&whole[..whole.len() - 8]);
    assert!(cut.starts_with(&format!("{start} 76, expected 76 bytes from its gzip stream, found it damaged")), "{cut}");
    let mut wrong_checksum = whole.clone();
    wrong_checksum[whole.len() - 8] ^= 1;
    let wrong = folder.message_of(&wrong_checksum);
    assert!(wrong.starts_with(&format!("{start} 76, expected 76 bytes from its gzip stream")), "{wrong}");
    let header = folder.message_of(&whole[..5]);
    assert!(header.starts_with(&format!("{start} 0, expected 16 bytes from its gzip stream")), "{header}");
}

#[test]
fn zero_dimensions_are_refused() {
    let folder = Folder::new();
    for (dimensions, offset, unit) in [([0, 4, 5], 4, "record"), ([3, 0, 5], 8, "row"), ([3, 4, 0], 12, "column")] {
        assert_eq!(
            folder.message_of(&idx(0x803, &dimensions, &[])),
            format!("{TRAIN_IMAGES}: at offset {offset}, expected at least one {unit}, found 0")
        );
    }
    folder.put(TRAIN_IMAGES, &images(3, 4, 5));
    folder.put(TRAIN_LABELS, &labels(&[]));
    assert_eq!(folder.message(), "train-labels-idx1-ubyte: at offset 4, expected at least one record, found 0");
}

#[test]
fn huge_headers_neither_overflow_nor_allocate() {
    let folder = Folder::new();
    for dimensions in [[u32::MAX; 3], [4_000_000_000, 28, 28], [1 << 16, 1 << 16, 2]] {
        let [a, b, c] = dimensions;
        let message = format!(
            "{TRAIN_IMAGES}: at offset 4, expected dimensions of at most 4294967296 bytes in all, found {a} x {b} x {c}"
        );
        assert_eq!(folder.message_of(&idx(0x803, &dimensions, &[0; 20])), message);
    }
    assert_eq!(
        folder.message_of(&idx(0x803, &[4_000_000_000, 1, 1], &[0; 20])),
        format!("{TRAIN_IMAGES}: at offset 36, expected 4000000016 bytes in all, found the end of the data")
    );
}

#[test]
fn swelling_gzip_is_cut_off_at_the_claimed_size() {
    let folder = Folder::new();
    let mut swelling = images(3, 4, 5);
    swelling.resize(64 << 20, 0);
    folder.put(TRAIN_IMAGES, &gzip(&swelling));
    assert!(matches!(folder.load(), Err(DataError::TooLong { expected: 76, .. })));
}

#[test]
fn files_must_belong_together() {
    let folder = Folder::new();
    folder.put(TRAIN_LABELS, &labels(&[0, 1, 2, 3]));
    assert_eq!(
        folder.message(),
        "train-labels-idx1-ubyte: at offset 4, expected 3 labels as train-images-idx3-ubyte has images, found 4"
    );
    folder.put(TRAIN_LABELS, &labels(&[0, 1, 2]));
    folder.put(TEST_IMAGES, &images(2, 5, 4));
    assert_eq!(
        folder.message(),
        "t10k-images-idx3-ubyte: at offset 8, expected images of 4 x 5 (rows x columns) as in \
         train-images-idx3-ubyte, found 5 x 4"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_bytes_give_an_error_and_no_panic(bytes: Vec<u8>, gz: bool) {
        let folder = Folder::new();
        folder.put(TRAIN_IMAGES, &if gz { gzip(&bytes) } else { bytes });
        prop_assert!(folder.load().is_err());
    }

    #[test]
    fn any_damage_gives_no_panic(at in 0usize..76, flip in 1u8.., gz: bool) {
        let folder = Folder::new();
        let mut bytes = if gz { gzip(&images(3, 4, 5)) } else { images(3, 4, 5) };
        let at = at % bytes.len();
        bytes[at] ^= flip;
        folder.put(TRAIN_IMAGES, &bytes);
        if let Ok(split) = folder.load() {
            prop_assert_eq!(split.train.samples.len(), split.train.len() * split.train.features());
        }
    }
}
