//! Compiled pipelines kept on disk, on adapters whose driver hands them out (Vulkan).

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};

/// Where caches lie unless `JOSTLE_CACHE_DIR` names another folder: the platform's folder for what may be deleted.
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = variable("JOSTLE_CACHE_DIR") {
        return Some(folder);
    }
    let home = || std::env::home_dir();
    let platform = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Caches"))
    } else {
        variable("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(".cache")))
    };
    platform.map(|folder| folder.join("jostle"))
}

/// A device's pipeline cache and the file that it came from.
#[derive(Debug)]
pub(super) struct PipelineCache {
    raw: wgpu::PipelineCache,
    path: PathBuf,
    loaded: Option<Vec<u8>>,
}

impl PipelineCache {
    /// The cache of this adapter in `folder`, empty where there is none or it is broken; `None` if the adapter has no such
    /// thing.
    pub(super) fn open(device: &wgpu::Device, info: &wgpu::AdapterInfo, folder: &Path) -> Option<Self> {
        let key = wgpu::util::pipeline_cache_key(info)?;
        // The driver's version is in the name, so that another version does not overwrite this one's.
        let version: String =
            info.driver_info.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let path = folder.join(format!("{key}-{version}.gz"));
        let loaded = read(&path);
        let descriptor =
            wgpu::PipelineCacheDescriptor { label: Some("jostle"), data: loaded.as_deref(), fallback: true };
        // SAFETY: the data came from `PipelineCache::get_data` on an adapter of this key: `save` is the only writer of such
        // files, renames them into place whole, and gzip's CRC refuses what has been damaged since. wgpu and the driver
        // validate the header's vendor, device and driver version besides, and start empty where they differ.
        #[expect(unsafe_code, reason = "a driver trusts the bytes of its cache; only `save` writes them")]
        let raw = unsafe { device.create_pipeline_cache(&descriptor) };
        Some(Self { raw, path, loaded })
    }

    pub(super) fn raw(&self) -> &wgpu::PipelineCache {
        &self.raw
    }

    /// Writes what has been added since it was opened. A cache that cannot be written costs time, nothing else.
    pub(super) fn save(&self) {
        let Some(data) = self.raw.get_data() else { return };
        if self.loaded.as_ref() == Some(&data) {
            return;
        }
        if let Err(error) = write(&self.path, &data) {
            log::debug!("pipeline cache {}: {error}", self.path.display());
        }
    }
}

/// The largest cache; those of all kernels take a few MB.
const MAX_BYTES: u64 = 1 << 28;

/// The bytes of a cache file; `None` if there is none, it is damaged or it swells past [`MAX_BYTES`].
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    GzDecoder::new(fs::File::open(path).ok()?).take(MAX_BYTES).read_to_end(&mut data).ok()?;
    ((data.len() as u64) < MAX_BYTES).then_some(data)
}

/// Whole or not at all: other processes may read and write the same file.
pub(super) fn write(path: &Path, data: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut encoder = GzEncoder::new(fs::File::create(&temporary)?, Compression::fast());
    encoder.write_all(data)?;
    encoder.finish()?.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_are_no_cache() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = folder.path().join("deeper/cache.gz");
        assert_eq!(read(&path), None);
        let data: Vec<u8> = (0..10_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        assert!(write(&path, &data).is_ok());
        assert_eq!(read(&path), Some(data));
        let whole = fs::read(&path).unwrap_or_default();
        for cut in [0, 5, whole.len() / 2, whole.len() - 1] {
            assert!(fs::write(&path, &whole[..cut]).is_ok());
            assert_eq!(read(&path), None, "cut at {cut}");
        }
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 4;
        assert!(fs::write(&path, &flipped).is_ok());
        assert_eq!(read(&path), None);
        assert_eq!(
            fs::read_dir(folder.path().join("deeper")).map(Iterator::count).ok(),
            Some(1),
            "nothing is left over"
        );
    }
}
