//! The data sets that can be named, and where their files are looked for.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{DataError, SampleShape, Split, cifar, digits, error::SOURCES, folder, idx, text};

/// The environment variable with a folder of data sets, each in a folder of its name.
const ROOT_VARIABLE: &str = "JOSTLE_DATA";

/// Where a data set comes from. Reads from and prints as [`CHOICES`](Self::CHOICES) says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum DataSource {
    /// The handwritten digits bundled with this crate: 1,297 training and 500 test images of 8 x 8, values 0 to 16,
    /// 10 classes. The test part is the last 50 images of each class.
    #[default]
    Digits,
    /// A folder with the four IDX files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
    /// `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, or with a dot before `idx`, each plain or with `.gz`.
    Idx(PathBuf),
    /// MNIST, as IDX files in `$JOSTLE_DATA/mnist` or `./data/mnist`.
    Mnist,
    /// Fashion-MNIST, as IDX files in `$JOSTLE_DATA/fashion-mnist`, `./data/fashion-mnist`, or where the Debian
    /// package `dataset-fashion-mnist` puts them.
    FashionMnist,
    /// A folder with binary files of CIFAR-10, any of `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, or
    /// of CIFAR-100, `train.bin` and `test.bin` (fine labels); each plain or with `.gz`.
    Cifar(PathBuf),
    /// CIFAR-10, as binary files in `$JOSTLE_DATA/cifar10` or `./data/cifar10`.
    Cifar10,
    /// CIFAR-100, as binary files in `$JOSTLE_DATA/cifar100` or `./data/cifar100`.
    Cifar100,
    /// A folder of class folders of PNG or JPEG files, with `train` and `test` (or `val`) above them or without, in
    /// which case every tenth image of a class is for testing. Names that begin with a dot are passed over.
    Folder {
        /// The folder.
        dir: PathBuf,
        /// Rows and columns to which images are resized; without, all must have one size.
        size: Option<[usize; 2]>,
    },
    /// The bundled plays of Shakespeare, a text of 1,037,039 characters, 63 different ones.
    Plays,
    /// A text file, plain or gzip, of which the first nine tenths are for training and the rest for testing.
    Text {
        /// The file.
        path: PathBuf,
        /// Tokens are its bytes, whatever they are, and not its characters.
        as_bytes: bool,
    },
    /// A file of tokens of 16 bits, little-endian, as nanoGPT writes it (gzip where its name ends in `.gz`), split as
    /// [`DataSource::Text`] is; all of a `train.bin` is for training where a `val.bin` beside it is for testing.
    Tokens {
        /// The file.
        path: PathBuf,
        /// Tokens of the vocabulary; without, one more than the largest.
        vocabulary: Option<usize>,
    },
}

/// A data set that is looked for in several folders.
struct Named {
    title: &'static str,
    folder: &'static str,
    /// Its files, in words.
    files: &'static str,
    /// Whether a folder has any of them.
    is_present: fn(&Path) -> bool,
    read: fn(&Path, &str) -> Result<Split, DataError>,
    /// Where the system's package manager puts it.
    system: Option<&'static str>,
    advice: &'static str,
}

const MNIST: Named = Named {
    title: "MNIST",
    folder: "mnist",
    files: "IDX files",
    is_present: idx::is_present,
    read: idx::load,
    system: None,
    advice: "get its four files, such as those that torchvision's datasets.MNIST downloads into MNIST/raw, and put them \
             into one of these folders or name theirs with `--data idx:DIR`",
};

const FASHION_MNIST: Named = Named {
    title: "Fashion-MNIST",
    folder: "fashion-mnist",
    files: "IDX files",
    is_present: idx::is_present,
    read: idx::load,
    system: Some("/usr/share/datasets/fashion-mnist"),
    advice: "install the package dataset-fashion-mnist on Debian or Ubuntu, or get the folder data/fashion of the GitHub \
             repository zalandoresearch/fashion-mnist and name it with `--data idx:DIR`",
};

const CIFAR10: Named = Named {
    title: "CIFAR-10",
    folder: "cifar10",
    files: "binary files data_batch_1.bin to data_batch_5.bin (any of them) and test_batch.bin, plain or with .gz,",
    is_present: cifar::is_cifar10,
    read: cifar::load,
    system: None,
    advice: "get cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it and put its files into \
             one of these folders or name theirs with `--data cifar:DIR`",
};

const CIFAR100: Named = Named {
    title: "CIFAR-100",
    folder: "cifar100",
    files: "binary files train.bin and test.bin, plain or with .gz,",
    is_present: cifar::is_cifar100,
    read: cifar::load,
    system: None,
    advice: "get cifar-100-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it and put its files into \
             one of these folders or name theirs with `--data cifar:DIR`",
};

impl DataSource {
    /// What can be named.
    pub const CHOICES: &'static str = SOURCES;

    /// Shape of a sample and number of classes, where the name alone says them; the others have to be read.
    #[must_use]
    pub fn known_shape(&self) -> Option<(SampleShape, usize)> {
        let image = |channels, side| SampleShape { channels, height: side, width: side };
        match self {
            Self::Digits => Some((image(1, 8), 10)),
            Self::Mnist | Self::FashionMnist => Some((image(1, 28), 10)),
            Self::Cifar10 => Some((image(3, 32), 10)),
            Self::Cifar100 => Some((image(3, 32), 100)),
            Self::Idx(_) | Self::Cifar(_) | Self::Folder { .. } => None,
            // Windows of a text have the length that a model gives them.
            Self::Plays | Self::Text { .. } | Self::Tokens { .. } => None,
        }
    }

    /// Reads the data set into memory.
    ///
    /// # Errors
    ///
    /// - [`DataError::NoFolder`], [`DataError::MissingFile`], [`DataError::NotInstalled`], [`DataError::EmptyFolder`] or
    ///   [`DataError::ClassFolders`] where files are not found.
    /// - [`DataError::Io`] where the system cannot read one.
    /// - [`DataError::Gzip`], [`DataError::Magic`], [`DataError::ZeroDimension`], [`DataError::TooLarge`],
    ///   [`DataError::Truncated`], [`DataError::TooLong`], [`DataError::Records`], [`DataError::Label`] or
    ///   [`DataError::Image`] where one is not what it ought to be.
    /// - [`DataError::CountMismatch`], [`DataError::ShapeMismatch`] or [`DataError::ImageSize`] where two of them do not
    ///   belong together.
    /// - [`DataError::Text`] where a text is not what it ought to be.
    /// - [`DataError::Digits`] where the bundled digits were tampered with.
    pub fn load(&self) -> Result<Split, DataError> {
        let root = env::var_os(ROOT_VARIABLE).map(PathBuf::from);
        match self {
            Self::Digits => digits::load(),
            Self::Idx(dir) => idx::load(dir, &self.to_string()),
            Self::Mnist => MNIST.load(root.as_deref()),
            Self::FashionMnist => FASHION_MNIST.load(root.as_deref()),
            Self::Cifar(dir) => cifar::load(dir, &self.to_string()),
            Self::Cifar10 => CIFAR10.load(root.as_deref()),
            Self::Cifar100 => CIFAR100.load(root.as_deref()),
            Self::Folder { dir, size } => folder::load(dir, *size, &self.to_string()),
            Self::Plays => text::plays(),
            Self::Text { path, as_bytes } => text::load(path, *as_bytes, &self.to_string()),
            Self::Tokens { path, vocabulary } => text::load_tokens(path, *vocabulary, &self.to_string()),
        }
    }
}

impl Named {
    fn load(&self, root: Option<&Path>) -> Result<Split, DataError> {
        let dirs = self.dirs(root);
        // The first folder with any of the files is taken for the data set, so that a half-copied one is reported and
        // not passed over for another.
        match dirs.iter().find(|dir| (self.is_present)(dir)) {
            Some(dir) => (self.read)(dir, self.folder),
            None => Err(self.not_installed(root, &dirs)),
        }
    }

    fn dirs(&self, root: Option<&Path>) -> Vec<PathBuf> {
        let own = root.into_iter().chain([Path::new("data")]).map(|root| root.join(self.folder));
        own.chain(self.system.map(PathBuf::from)).collect()
    }

    fn not_installed(&self, root: Option<&Path>, dirs: &[PathBuf]) -> DataError {
        let unset = root.is_none().then(|| format!("${ROOT_VARIABLE}/{} (not set)", self.folder));
        let searched = unset.into_iter().chain(dirs.iter().map(|dir| dir.display().to_string())).collect();
        DataError::NotInstalled { name: self.title, files: self.files, searched, advice: self.advice }
    }
}

impl FromStr for DataSource {
    type Err = DataError;

    /// # Errors
    ///
    /// [`DataError::UnknownSource`], which lists the choices, for any other text than theirs.
    fn from_str(text: &str) -> Result<Self, DataError> {
        let unknown = || DataError::UnknownSource { found: text.to_owned() };
        let (kind, dir) = text.split_once(':').map_or((text, None), |(kind, dir)| (kind, Some(dir)));
        match (kind, dir) {
            ("digits", None) => Ok(Self::Digits),
            (text::PLAYS, None) => Ok(Self::Plays),
            ("mnist", None) => Ok(Self::Mnist),
            ("fashion-mnist", None) => Ok(Self::FashionMnist),
            ("cifar10", None) => Ok(Self::Cifar10),
            ("cifar100", None) => Ok(Self::Cifar100),
            (_, Some("") | None) => Err(unknown()),
            ("idx", Some(dir)) => Ok(Self::Idx(dir.into())),
            ("cifar", Some(dir)) => Ok(Self::Cifar(dir.into())),
            ("folder", Some(dir)) => Ok(sized_folder(dir)),
            ("text", Some(file)) => Ok(text_file(file)),
            ("tokens", Some(file)) => Ok(tokens_file(file)),
            _ => Err(unknown()),
        }
    }
}

/// `DIR@HxW`, or `DIR` where what follows an `@` is not a size.
fn sized_folder(text: &str) -> DataSource {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=1 << 14).contains(side));
    let sized = text.rsplit_once('@').and_then(|(dir, size)| {
        let (height, width) = size.split_once('x')?;
        Some((dir, [side(height)?, side(width)?]))
    });
    match sized {
        Some((dir, size)) if !dir.is_empty() => DataSource::Folder { dir: dir.into(), size: Some(size) },
        _ => DataSource::Folder { dir: text.into(), size: None },
    }
}

/// How a text is told to be read as bytes.
const AS_BYTES: &str = "@bytes";

/// `FILE@bytes`, or `FILE`.
fn text_file(text: &str) -> DataSource {
    match text.strip_suffix(AS_BYTES).filter(|path| !path.is_empty()) {
        Some(path) => DataSource::Text { path: path.into(), as_bytes: true },
        None => DataSource::Text { path: text.into(), as_bytes: false },
    }
}

/// `FILE@VOCABULARY`, or `FILE` where what follows an `@` is no number that tokens of 16 bits may be below.
fn tokens_file(text: &str) -> DataSource {
    let size = |text: &str| text.parse().ok().filter(|size| (1..=1 << 16).contains(size));
    let sized = text.rsplit_once('@').and_then(|(path, found)| Some((path, size(found)?)));
    match sized {
        Some((path, size)) if !path.is_empty() => DataSource::Tokens { path: path.into(), vocabulary: Some(size) },
        _ => DataSource::Tokens { path: text.into(), vocabulary: None },
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digits => f.pad("digits"),
            Self::Idx(dir) => f.pad(&format!("idx:{}", dir.display())),
            Self::Mnist => f.pad("mnist"),
            Self::FashionMnist => f.pad("fashion-mnist"),
            Self::Cifar(dir) => f.pad(&format!("cifar:{}", dir.display())),
            Self::Cifar10 => f.pad("cifar10"),
            Self::Cifar100 => f.pad("cifar100"),
            Self::Folder { dir, size: None } => f.pad(&format!("folder:{}", dir.display())),
            Self::Folder { dir, size: Some([height, width]) } => {
                f.pad(&format!("folder:{}@{height}x{width}", dir.display()))
            }
            Self::Plays => f.pad(text::PLAYS),
            Self::Text { path, as_bytes: false } => f.pad(&format!("text:{}", path.display())),
            Self::Text { path, as_bytes: true } => f.pad(&format!("text:{}{AS_BYTES}", path.display())),
            Self::Tokens { path, vocabulary: None } => f.pad(&format!("tokens:{}", path.display())),
            Self::Tokens { path, vocabulary: Some(size) } => f.pad(&format!("tokens:{}@{size}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Here and not with the other tests because the folders searched depend on the environment.
    #[test]
    fn not_installed_says_where_it_looked_and_how_to_get_it() {
        let named = Named { system: Some("/nowhere/fashion-mnist"), ..FASHION_MNIST };
        let message = |root: Option<&Path>| named.load(root).map(|_| ()).map_err(|e| e.to_string());
        let folder = |root: &str| Path::new(root).join("fashion-mnist").display().to_string();
        let own = folder("data");
        let end = "/nowhere/fashion-mnist, found them in none; install the package \
                   dataset-fashion-mnist on Debian or Ubuntu, or get the folder data/fashion of the GitHub repository \
                   zalandoresearch/fashion-mnist and name it with `--data idx:DIR`";
        let start = "Fashion-MNIST: expected the IDX files in one of";
        assert_eq!(message(None), Err(format!("{start} $JOSTLE_DATA/fashion-mnist (not set), {own}, {end}")));
        assert_eq!(message(Some(Path::new("/no"))), Err(format!("{start} {}, {own}, {end}", folder("/no"))));
    }

    #[test]
    fn a_half_copied_folder_is_reported() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let dir = root.path().join("mnist");
        std::fs::create_dir(&dir)?;
        std::fs::write(dir.join("t10k-labels.idx1-ubyte.gz"), [])?;
        let error = MNIST.load(Some(root.path())).map(|_| ());
        assert!(matches!(error, Err(DataError::MissingFile { role: "training images", .. })), "{error:?}");
        Ok(())
    }
}
