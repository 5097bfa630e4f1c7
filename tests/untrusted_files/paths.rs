//! What a folder or a path may lead to. Links are followed, as data sets often are links; nothing is written where they
//! lead; and only regular files are read, so that no device or pipe is.
#![cfg(unix)]

use std::{fs, os::unix::fs::symlink, path::Path};

use jostle::{
    data::DataSource,
    experiments::simple::{FileKind, read},
    nn::{Model, Signature, read_tensors},
    train::{Options, RunConfig},
};
use tempfile::TempDir;

use super::files;

/// Twenty images in two class folders.
fn class_folders(root: &Path) {
    let png = files::encoded(files::drawing(), image::ImageFormat::Png);
    for class in ["ant", "bee"] {
        fs::create_dir_all(root.join(class)).unwrap();
        (0..10).for_each(|number| fs::write(root.join(class).join(format!("{number}.png")), &png).unwrap());
    }
}

fn images(root: &Path) -> (usize, usize) {
    let split = DataSource::Folder { dir: root.to_owned(), size: None }.load().unwrap();
    (split.train.len(), split.test.len())
}

#[test]
fn links_of_a_folder_are_followed_once_and_to_files_alone() {
    let (root, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    class_folders(root.path());
    assert_eq!(images(root.path()), (18, 2));
    let bee = root.path().join("bee");
    // A loop, a device, a folder and nothing at all under the names of images.
    symlink(root.path(), bee.join("loop")).unwrap();
    symlink("/dev/zero", bee.join("zero.png")).unwrap();
    symlink(elsewhere.path(), bee.join("folder.png")).unwrap();
    symlink("nowhere", bee.join("nothing.png")).unwrap();
    assert_eq!(images(root.path()), (18, 2));
    // An image somewhere else is an image.
    fs::rename(bee.join("3.png"), elsewhere.path().join("3.png")).unwrap();
    symlink(elsewhere.path().join("3.png"), bee.join("3.png")).unwrap();
    assert_eq!(images(root.path()), (18, 2));
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1, "nothing is written where links lead");
}

#[test]
fn a_folder_is_refused_whole_before_its_images_are_decoded() {
    let root = TempDir::new().unwrap();
    class_folders(root.path());
    let message = |size| DataSource::Folder { dir: root.path().to_owned(), size }.load().unwrap_err().to_string();
    let expected = format!(
        "{}: expected images of at most 4294967296 bytes in all, found 20 of 16384 x 16384 x 3 bytes (rows x columns x \
         channels)",
        root.path().display()
    );
    assert_eq!(message(Some([1 << 14, 1 << 14])), expected);
    // One of another size is refused by its header: it has no pixels.
    let odd = root.path().join("bee/5.png");
    let png = files::encoded(image::RgbImage::new(7, 4), image::ImageFormat::Png);
    fs::write(&odd, &png[..50]).unwrap();
    assert!(message(None).contains("found 4 x 7; `folder:DIR@HxW` resizes all"), "{}", message(None));
}

#[test]
fn what_never_ends_is_not_read_to_the_end() {
    let zero = Path::new("/dev/zero");
    let kind = "/dev/zero: expected a regular file, found another kind";
    assert_eq!(read_tensors(zero).unwrap_err().to_string(), kind);
    assert_eq!(read(zero, FileKind::Sparse).unwrap_err().to_string(), kind);
    let config = RunConfig::resolve(Some(zero), &Options::default()).unwrap_err().to_string();
    assert_eq!(config, "/dev/zero: expected a text of at most 65536 bytes, found more");

    let root = TempDir::new().unwrap();
    let path = root.path().join("zero.toml");
    symlink(zero, &path).unwrap();
    let model = Model::build(path.to_str().unwrap(), &Signature::default()).unwrap_err().to_string();
    assert_eq!(model, format!("model file {}: expected a text of at most 1048576 bytes, found more", path.display()));
    // A folder of data names its files; a device under such a name is none.
    symlink(zero, root.path().join("train-images-idx3-ubyte")).unwrap();
    let idx = DataSource::Idx(root.path().to_owned()).load().unwrap_err().to_string();
    assert!(idx.contains("expected the training images in one of"), "{idx}");
}

/// A model's file has names for its layers, which become keys of a weights' file and never paths.
#[test]
fn names_of_layers_are_no_paths() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("net.toml");
    fs::write(&path, "layers = [{type='flatten'}, {type='linear', name='../../etc/passwd'}]").unwrap();
    let model = Model::build(path.to_str().unwrap(), &Signature::default()).unwrap();
    assert_eq!(model.graph.params()[0].name, "../../etc/passwd.weight");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    // No key of a model's file names another file.
    fs::write(&path, "layers = [{type='flatten'}, {type='linear', file='other.toml'}]").unwrap();
    let error = Model::build(path.to_str().unwrap(), &Signature::default()).unwrap_err().to_string();
    assert!(error.contains("unknown field `file`"), "{error}");
}
