//! CIFAR's binary files and folders of images, from outside.

use std::{
    fs,
    io::Write,
    path::{MAIN_SEPARATOR, Path},
};

use flate2::{Compression, write::GzEncoder};
use image::{GrayImage, Luma, Rgb, RgbImage};
use jostle::data::{DataError, DataSource, Dataset, Split};
use proptest::prelude::*;
use tempfile::TempDir;

const PIXELS: usize = 3 * 32 * 32;

/// Records whose pixel bytes count up from the record's number.
fn records(labels: &[&[u8]]) -> Vec<u8> {
    let record = |(index, label): (usize, &&[u8])| {
        label.iter().copied().chain((0..PIXELS).map(move |i| (i + index) as u8)).collect::<Vec<u8>>()
    };
    labels.iter().enumerate().flat_map(record).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn load(dir: &TempDir) -> Result<Split, DataError> {
    DataSource::Cifar(dir.path().to_owned()).load()
}

/// The message without the folder's own path.
fn message(source: &DataSource, dir: &Path) -> String {
    let message = source.load().map(|_| ()).unwrap_err().to_string();
    message.replace(&format!("{}{MAIN_SEPARATOR}", dir.display()), "").replace(&dir.display().to_string(), "DIR")
}

#[test]
fn cifar10_takes_any_of_its_batches_plain_or_gzip() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data_batch_2.bin"), records(&[&[7], &[0]])).unwrap();
    fs::write(dir.path().join("data_batch_5.bin.gz"), gzip(&records(&[&[9]]))).unwrap();
    fs::write(dir.path().join("test_batch.bin"), records(&[&[3]])).unwrap();
    let split = load(&dir).unwrap();
    assert_eq!((split.train.targets.labels(), split.test.targets.labels()), ([7, 0, 9].as_slice(), [3].as_slice()));
    let shape = split.train.shape;
    assert_eq!((shape.channels, shape.height, shape.width, split.train.targets.outputs()), (3, 32, 32, 10));
    let (pixels, _) = split.train.sample(1).unwrap();
    assert_eq!(pixels[..3], [1, 2, 3], "the record's bytes after its label");
    assert_eq!(split.train.published[0], [0.4914, 0.2023]);
}

#[test]
fn cifar100_takes_the_fine_labels() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("train.bin.gz"), gzip(&records(&[&[4, 99], &[1, 2]]))).unwrap();
    fs::write(dir.path().join("test.bin"), records(&[&[19, 50]])).unwrap();
    let split = load(&dir).unwrap();
    assert_eq!((split.train.targets.labels(), split.train.targets.outputs()), ([99, 2].as_slice(), 100));
    assert_eq!(split.train.published[2], [0.4411, 0.2025]);
}

#[test]
fn wrong_cifar_files_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let source = DataSource::Cifar(dir.path().to_owned());
    let missing = message(&source, dir.path());
    assert!(missing.starts_with("DIR: expected the training images in one of data_batch_1.bin[.gz], "), "{missing}");
    fs::write(dir.path().join("data_batch_1.bin"), &records(&[&[1]])[..3000]).unwrap();
    let missing = message(&source, dir.path());
    assert!(missing.contains("test images in one of test_batch.bin, test_batch.bin.gz"), "{missing}");
    fs::write(dir.path().join("test_batch.bin"), records(&[&[1]])).unwrap();
    let expected = "data_batch_1.bin: expected a whole number of records of 3073 bytes, found 3000 bytes";
    assert_eq!(message(&source, dir.path()), expected);
    fs::write(dir.path().join("data_batch_1.bin"), records(&[&[1], &[10]])).unwrap();
    let expected = "data_batch_1.bin: at offset 3073, expected a label below 10, found 10";
    assert_eq!(message(&source, dir.path()), expected);
    let nowhere = DataSource::Cifar("/nowhere/at/all".into()).load().unwrap_err().to_string();
    assert!(nowhere.contains("expected a folder with the binary files of CIFAR-10"), "{nowhere}");
}

/// Class folders `ant` and `bee` of images of 4 rows and 6 columns: red grows along the row, green tells class and number.
fn class_folders(root: &Path, images: u8) {
    for (class, name) in ["ant", "bee"].into_iter().enumerate() {
        fs::create_dir_all(root.join(name)).unwrap();
        for number in 0..images {
            let pixel = |x, _| Rgb([x as u8 * 10, class as u8 * 100 + number, 7]);
            RgbImage::from_fn(6, 4, pixel).save(root.join(name).join(format!("{number:02}.png"))).unwrap();
        }
        fs::write(root.join(name).join("notes.txt"), "not an image").unwrap();
    }
}

fn folder(root: &Path) -> DataSource {
    DataSource::Folder { dir: root.to_owned(), size: None }
}

fn green(data: &Dataset, sample: usize) -> u8 {
    data.sample(sample).unwrap().0[24]
}

#[test]
fn a_folder_without_parts_tests_on_every_tenth_image() {
    let dir = tempfile::tempdir().unwrap();
    class_folders(dir.path(), 11);
    let split = folder(dir.path()).load().unwrap();
    assert_eq!((split.train.len(), split.test.len(), split.train.targets.outputs()), (20, 2, 2));
    assert_eq!((green(&split.test, 0), green(&split.test, 1)), (9, 109));
    let (pixels, label) = split.train.sample(11).unwrap();
    assert_eq!((label, &pixels[..7], pixels[24]), (1, [0, 10, 20, 30, 40, 50, 0].as_slice(), 101));
}

#[test]
fn a_folder_with_parts_keeps_them_and_resizes_where_told() {
    let dir = tempfile::tempdir().unwrap();
    class_folders(&dir.path().join("train"), 3);
    class_folders(&dir.path().join("val"), 1);
    let split = folder(dir.path()).load().unwrap();
    assert_eq!((split.train.len(), split.test.len()), (6, 2));
    let sized = DataSource::Folder { dir: dir.path().to_owned(), size: Some([2, 3]) }.load().unwrap();
    assert_eq!((sized.train.shape.channels, sized.train.shape.height, sized.train.shape.width), (3, 2, 3));
    assert_eq!(sized.train.sample(4).unwrap().0[6], 101, "a flat plane stays flat");
}

#[test]
fn grey_folders_have_one_channel() {
    let dir = tempfile::tempdir().unwrap();
    for class in ["0", "1"] {
        fs::create_dir_all(dir.path().join(class)).unwrap();
        for number in 0..10 {
            let image = GrayImage::from_pixel(5, 5, Luma([number * 20]));
            let name = format!("{number}.{}", if number == 3 { "jpg" } else { "png" });
            image.save(dir.path().join(class).join(name)).unwrap();
        }
    }
    let split = folder(dir.path()).load().unwrap();
    assert_eq!((split.train.shape.channels, split.train.len(), split.test.len()), (1, 18, 2));
    assert!(split.train.sample(3).unwrap().0[0].abs_diff(60) <= 2, "JPEG is lossy");
}

/// What file managers and editors leave behind is neither a class nor an image.
#[test]
fn hidden_names_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    class_folders(dir.path(), 10);
    std::fs::create_dir(dir.path().join(".thumbnails")).unwrap();
    std::fs::copy(dir.path().join("ant/00.png"), dir.path().join(".thumbnails/00.png")).unwrap();
    std::fs::write(dir.path().join("bee/._00.png"), "no image").unwrap();
    let split = folder(dir.path()).load().unwrap();
    assert_eq!((split.train.targets.outputs(), split.train.len(), split.test.len()), (2, 18, 2));
}

#[test]
fn wrong_folders_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(message(&folder(dir.path()), dir.path()), "DIR: expected class folders, found none");
    class_folders(dir.path(), 3);
    assert!(message(&folder(dir.path()), dir.path()).contains("at least ten images in a class folder"));
    class_folders(dir.path(), 10);
    RgbImage::new(5, 4).save(dir.path().join("bee/04.png")).unwrap();
    let expected = format!(
        "bee{MAIN_SEPARATOR}04.png: expected an image of 4 x 6 (rows x columns) as \
                            ant{MAIN_SEPARATOR}00.png is, found 4 x 5; `folder:DIR@HxW` resizes all"
    );
    assert_eq!(message(&folder(dir.path()), dir.path()), expected);
    fs::write(dir.path().join("bee/04.png"), "no image").unwrap();
    assert!(message(&folder(dir.path()), dir.path()).contains("expected a PNG or JPEG image"));
    fs::create_dir_all(dir.path().join("train/a")).unwrap();
    RgbImage::new(5, 4).save(dir.path().join("train/a/0.png")).unwrap();
    class_folders(&dir.path().join("test"), 1);
    assert!(
        message(&folder(dir.path()), dir.path())
            .contains("the class folders of the training images, a, found ant, bee")
    );
}

#[test]
fn stratified_subsets_keep_the_proportions() {
    let digits = DataSource::Digits.load().unwrap().train;
    let counts = |data: &Dataset| -> Vec<usize> {
        (0..10).map(|class| data.targets.labels().iter().filter(|label| **label == class).count()).collect()
    };
    let all = counts(&digits);
    for n in [10, 100, 777, digits.len()] {
        let subset = digits.stratified_subset(n, 3).unwrap();
        assert_eq!(subset.len(), n);
        for (part, whole) in counts(&subset).iter().zip(&all) {
            let exact = *whole as f64 * n as f64 / digits.len() as f64;
            assert!((*part as f64 - exact).abs() < 1.0, "{part} of {whole}, {n} in all");
        }
    }
    assert_eq!(digits.stratified_subset(100, 3).unwrap(), digits.stratified_subset(100, 3).unwrap());
    assert_ne!(digits.stratified_subset(100, 3).unwrap().samples, digits.stratified_subset(100, 4).unwrap().samples);
    assert!(digits.stratified_subset(0, 1).is_err() && digits.stratified_subset(digits.len() + 1, 1).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_give_no_panic(bytes: Vec<u8>, gz: bool) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("test_batch.bin"), records(&[&[3]])).unwrap();
        fs::write(dir.path().join("data_batch_1.bin"), if gz { gzip(&bytes) } else { bytes }).unwrap();
        prop_assert!(load(&dir).is_err());
    }
}
