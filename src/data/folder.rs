//! A folder of class folders of PNG and JPEG files.
//!
//! With sub-folders `train` and `test` (or `val`), those are the two parts. Otherwise the class folders are the folder's
//! own, and every tenth image of a class, in the order of the file names, is for testing. Names that begin with a dot are
//! passed over.

use std::{
    io::{BufRead, Seek},
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, imageops::FilterType};
use rayon::prelude::*;

use super::{
    DataError, Dataset, SampleShape, Split, Targets,
    bytes::{self, most_of},
};

/// Every n-th image of a class is for testing where the folder does not say.
const TEST_EVERY: usize = 10;
/// The most bytes of pixels accepted in all; images that swell could else take all memory.
const MAX_BYTES: u64 = 1 << 32;
/// The most rows or columns of an image.
const MAX_SIDE: u32 = 1 << 14;
/// The most bytes that one image may decode to.
const MAX_IMAGE_BYTES: u64 = 1 << 28;

/// The files of one part: path and class of each.
type Files = Vec<(PathBuf, u32)>;

/// Reads a folder; images are resized to `size` (rows, columns) where it is given, else all must have one size. Grey
/// throughout gives one channel, else three.
pub(super) fn load(dir: &Path, size: Option<[usize; 2]>, name: &str) -> Result<Split, DataError> {
    bytes::expect_folder(dir, "class folders of PNG or JPEG files")?;
    let (classes, train, test) = match parts(dir) {
        Some([train_dir, test_dir]) => {
            let (classes, train) = class_files(&train_dir)?;
            let (found, test) = class_files(&test_dir)?;
            if found != classes {
                return Err(DataError::ClassFolders { dir: test_dir, expected: classes, found });
            }
            (classes, train, test)
        }
        None => {
            let (classes, files) = class_files(dir)?;
            let (train, test) = every_tenth(files);
            (classes, train, test)
        }
    };
    if test.is_empty() {
        let expected = "at least ten images in a class folder, every tenth of which is for testing, or folders train and \
                        test";
        return Err(DataError::EmptyFolder { dir: dir.to_owned(), expected });
    }
    let images = decode(dir, train.iter().chain(&test).map(|(path, _)| path), size)?;
    let channels = if images.iter().any(|image| image.color().has_color()) { 3 } else { 1 };
    let (train_images, test_images) = images.split_at(train.len());
    let split_part = |files: &Files, images: &[DynamicImage]| dataset(files, images, channels, classes.len(), name);
    Ok(Split { train: split_part(&train, train_images), test: split_part(&test, test_images) })
}

/// The folders of the two parts, where there are both.
fn parts(dir: &Path) -> Option<[PathBuf; 2]> {
    let [train, test, val] = ["train", "test", "val"].map(|part| dir.join(part));
    let test = if test.is_dir() { test } else { val };
    (train.is_dir() && test.is_dir()).then_some([train, test])
}

/// What a folder holds, by name; hidden files and folders, which systems and tools leave behind, are passed over.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let error = |cause| DataError::Io { path: dir.to_owned(), offset: 0, cause };
    let entries = std::fs::read_dir(dir).map_err(error)?;
    let mut paths = entries.map(|entry| Ok(entry.map_err(error)?.path())).collect::<Result<Vec<_>, DataError>>()?;
    paths.retain(|path| !is_hidden(path));
    paths.sort();
    Ok(paths)
}

/// Whether a name begins with a dot.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Names of the class folders in order, and the images in them.
fn class_files(dir: &Path) -> Result<(Vec<String>, Files), DataError> {
    let folders: Vec<PathBuf> = entries(dir)?.into_iter().filter(|path| path.is_dir()).collect();
    if folders.is_empty() {
        return Err(DataError::EmptyFolder { dir: dir.to_owned(), expected: "class folders" });
    }
    let (mut classes, mut files) = (Vec::new(), Vec::new());
    for (class, folder) in folders.iter().enumerate() {
        let before = files.len();
        files.extend(entries(folder)?.into_iter().filter(|path| is_image(path)).map(|path| (path, class as u32)));
        if files.len() == before {
            return Err(DataError::EmptyFolder { dir: folder.clone(), expected: "PNG or JPEG files" });
        }
        classes.push(folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default());
    }
    Ok((classes, files))
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    path.is_file() && extension.is_some_and(|extension| ["png", "jpg", "jpeg"].contains(&extension.as_str()))
}

/// (training, test): the last of every ten of a class is for testing.
fn every_tenth(files: Files) -> (Files, Files) {
    let (mut train, mut test) = (Files::new(), Files::new());
    let mut place = (0, 0);
    for (path, class) in files {
        place = if class == place.0 { (class, place.1 + 1) } else { (class, 1) };
        if place.1 % TEST_EVERY == 0 { test.push((path, class)) } else { train.push((path, class)) }
    }
    (train, test)
}

/// What an image's size has to be, or is made to be.
#[derive(Clone, Copy)]
pub(super) enum Sizing<'a> {
    /// Resized to these rows and columns.
    To([usize; 2]),
    /// These rows and columns, those of the file named.
    As([usize; 2], &'a Path),
}

/// Decodes all files in parallel, to one size.
fn decode<'a>(
    dir: &Path,
    paths: impl Iterator<Item = &'a PathBuf>,
    size: Option<[usize; 2]>,
) -> Result<Vec<DynamicImage>, DataError> {
    let paths: Vec<&PathBuf> = paths.collect();
    let Some(first) = paths.first() else { return Ok(Vec::new()) };
    let sizing = match size {
        Some(size) => Sizing::To(size),
        None => Sizing::As(size_of(&decoder(first, open(first)?, stored(first))?), first),
    };
    let (Sizing::To([height, width]) | Sizing::As([height, width], _)) = sizing;
    // Before anything is decoded: the size of the first is that of all.
    let (count, found) = (paths.len(), [height, width, 3]);
    let bytes = found.iter().try_fold(count as u64, |product, side| product.checked_mul(*side as u64));
    if bytes.is_none_or(|bytes| bytes > MAX_BYTES) {
        return Err(DataError::FolderTooLarge { dir: dir.to_owned(), limit: MAX_BYTES, count, found });
    }
    paths.par_iter().map(|path| read(path, open(path)?, stored(path), sizing)).collect()
}

/// Bytes of a file; an error will show when it is read.
fn stored(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// The most bytes that a file of `stored` bytes may decode to, and that its decoder may take meanwhile.
fn most_of_image(stored: u64) -> u64 {
    most_of(stored).min(MAX_IMAGE_BYTES)
}

fn open(path: &Path) -> Result<ImageReader<std::io::BufReader<std::fs::File>>, DataError> {
    ImageReader::open(path).map_err(|cause| DataError::Io { path: path.to_owned(), offset: 0, cause })
}

/// Reads the header of a file of `stored` bytes, whose sides are then within bounds.
pub(super) fn decoder<'a, R: BufRead + Seek + 'a>(
    path: &Path,
    reader: ImageReader<R>,
    stored: u64,
) -> Result<impl ImageDecoder + 'a, DataError> {
    let mut reader =
        reader.with_guessed_format().map_err(|cause| DataError::Io { path: path.to_owned(), offset: 0, cause })?;
    let mut limits = Limits::default();
    (limits.max_image_height, limits.max_image_width) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(most_of_image(stored));
    reader.limits(limits);
    reader.into_decoder().map_err(|cause| DataError::Image { path: path.to_owned(), cause })
}

/// Rows and columns.
pub(super) fn size_of(decoder: &impl ImageDecoder) -> [usize; 2] {
    let (width, height) = decoder.dimensions();
    [height as usize, width as usize]
}

/// Decodes a file of `stored` bytes, to 8 bits a channel: grey or RGB.
pub(super) fn read<R: BufRead + Seek>(
    path: &Path,
    reader: ImageReader<R>,
    stored: u64,
    sizing: Sizing<'_>,
) -> Result<DynamicImage, DataError> {
    let decoder = decoder(path, reader, stored)?;
    let found = size_of(&decoder);
    if let Sizing::As(expected, first) = sizing
        && found != expected
    {
        return Err(DataError::ImageSize { path: path.to_owned(), first: first.to_owned(), expected, found });
    }
    // The decoder makes room for what the header claims before it reads on.
    let limit = most_of_image(stored);
    if decoder.total_bytes() > limit {
        let found = decoder.total_bytes();
        return Err(DataError::ImageTooLarge { path: path.to_owned(), limit, stored, found });
    }
    let image =
        DynamicImage::from_decoder(decoder).map_err(|cause| DataError::Image { path: path.to_owned(), cause })?;
    let image = match sizing {
        Sizing::To([height, width]) => image.resize_exact(width as u32, height as u32, FilterType::Triangle),
        Sizing::As(..) => image,
    };
    Ok(if image.color().has_color() { image.into_rgb8().into() } else { image.into_luma8().into() })
}

fn dataset(files: &Files, images: &[DynamicImage], channels: usize, classes: usize, name: &str) -> Dataset {
    let (height, width) = images.first().map_or((0, 0), |image| (image.height() as usize, image.width() as usize));
    let planes = |image: &DynamicImage| -> Vec<u8> {
        if channels == 1 {
            return image.to_luma8().into_raw();
        }
        let pixels = image.to_rgb8().into_raw();
        (0..channels).flat_map(|channel| pixels.iter().skip(channel).step_by(channels).copied()).collect()
    };
    Dataset {
        name: name.to_owned(),
        samples: images.par_iter().map(planes).collect::<Vec<_>>().concat().into(),
        targets: Targets::Classes { labels: files.iter().map(|(_, class)| *class).collect(), classes },
        shape: SampleShape { channels, height, width },
        full_scale: 255.0,
        published: &[],
    }
}
