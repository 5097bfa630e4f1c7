//! The data sets that can be named, and where their files are looked for.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{DataError, Split, digits, idx};

/// The environment variable with a folder of data sets, each in a folder of its name.
const ROOT_VARIABLE: &str = "JOSTLE_DATA";

/// Where a data set comes from. Reads from and prints as `digits`, `idx:DIR`, `mnist` or `fashion-mnist`.
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
}

/// A data set that is looked for in several folders.
struct Named {
    title: &'static str,
    folder: &'static str,
    /// Where the system's package manager puts it.
    system: Option<&'static str>,
    advice: &'static str,
}

const MNIST: Named = Named {
    title: "MNIST",
    folder: "mnist",
    system: None,
    advice: "get its four files, such as those that torchvision's datasets.MNIST downloads into MNIST/raw, and put them \
             into one of these folders or name theirs with `--data idx:DIR`",
};

const FASHION_MNIST: Named = Named {
    title: "Fashion-MNIST",
    folder: "fashion-mnist",
    system: Some("/usr/share/datasets/fashion-mnist"),
    advice: "install the package dataset-fashion-mnist on Debian or Ubuntu, or get the folder data/fashion of the GitHub \
             repository zalandoresearch/fashion-mnist and name it with `--data idx:DIR`",
};

impl DataSource {
    /// Reads the data set into memory.
    ///
    /// # Errors
    ///
    /// - [`DataError::NoFolder`], [`DataError::MissingFile`] or [`DataError::NotInstalled`] where files are not found.
    /// - [`DataError::Io`] where the system cannot read one.
    /// - [`DataError::Gzip`], [`DataError::Magic`], [`DataError::ZeroDimension`], [`DataError::TooLarge`],
    ///   [`DataError::Truncated`] or [`DataError::TooLong`] where one is not the IDX file it ought to be.
    /// - [`DataError::CountMismatch`] or [`DataError::ShapeMismatch`] where two of them do not belong together.
    /// - [`DataError::Digits`] where the bundled digits were tampered with.
    pub fn load(&self) -> Result<Split, DataError> {
        let root = env::var_os(ROOT_VARIABLE).map(PathBuf::from);
        match self {
            Self::Digits => digits::load(),
            Self::Idx(dir) => idx::load(dir, &self.to_string()),
            Self::Mnist => MNIST.load(root.as_deref()),
            Self::FashionMnist => FASHION_MNIST.load(root.as_deref()),
        }
    }
}

impl Named {
    fn load(&self, root: Option<&Path>) -> Result<Split, DataError> {
        let dirs = self.dirs(root);
        // The first folder with any of the files is taken for the data set, so that a half-copied one is reported and
        // not passed over for another.
        match dirs.iter().find(|dir| idx::is_present(dir)) {
            Some(dir) => idx::load(dir, self.folder),
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
        DataError::NotInstalled { name: self.title, searched, advice: self.advice }
    }
}

impl FromStr for DataSource {
    type Err = DataError;

    /// # Errors
    ///
    /// [`DataError::UnknownSource`], which lists the choices, for any other text than theirs.
    fn from_str(text: &str) -> Result<Self, DataError> {
        match (text, text.strip_prefix("idx:")) {
            ("digits", _) => Ok(Self::Digits),
            ("mnist", _) => Ok(Self::Mnist),
            ("fashion-mnist", _) => Ok(Self::FashionMnist),
            (_, Some(dir)) if !dir.is_empty() => Ok(Self::Idx(dir.into())),
            _ => Err(DataError::UnknownSource { found: text.to_owned() }),
        }
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digits => f.pad("digits"),
            Self::Idx(dir) => f.pad(&format!("idx:{}", dir.display())),
            Self::Mnist => f.pad("mnist"),
            Self::FashionMnist => f.pad("fashion-mnist"),
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
