//! What `scripts/torch_transformers.py` draws, drawn here by the same formulas.

use std::path::{Path, PathBuf};

use jostle::nn::{NamedTensor, write_tensors};

use super::hash;

/// Of the weights: a tensor's own is this and its name's place among all names in their order.
pub const WEIGHTS: u64 = 400;
/// Every so many-th element of a tensor is in the fixtures.
pub const EVERY: usize = 17;
/// Of the text.
pub const TEXT: u64 = 301;
pub const TOKENS: usize = 4000;
pub const VOCABULARY: usize = 71;
pub const LENGTH: usize = 37;
/// Of the images.
pub const IMAGES: u64 = 91;

/// The text.
pub fn hashed_text() -> Vec<u16> {
    (0..TOKENS as u64).map(|i| (hash(TEXT, i) % VOCABULARY as u64) as u16).collect()
}

/// The text as a file of nanoGPT's, and how it is named as data.
pub fn text_file(folder: &Path) -> String {
    let path = folder.join("text.bin");
    let bytes: Vec<u8> = hashed_text().into_iter().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&path, bytes).unwrap();
    format!("tokens:{}@{VOCABULARY}", path.display())
}

fn is_norm_scale(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    let [.., module, "weight"] = parts[..] else { return false };
    module.starts_with("ln_") || module.starts_with("norm")
}

/// Uniform in +-0.1, around 1 for the scales of norms.
fn draw(seed: u64, name: &str, len: usize) -> Vec<f32> {
    let middle = f64::from(u8::from(is_norm_scale(name)));
    let value = |i: u64| (hash(seed, i) as f64 / 2f64.powi(64) - 0.5) * 0.2 + middle;
    (0..len as u64).map(|i| value(i) as f32).collect()
}

/// The weights of these names and shapes.
pub fn hashed_weights(shapes: &[(String, Vec<usize>)]) -> Vec<NamedTensor> {
    let mut names: Vec<&String> = shapes.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    let tensor = |(name, shape): &(String, Vec<usize>)| {
        let place = names.iter().position(|other| *other == name).unwrap();
        let values = draw(WEIGHTS + place as u64, name, shape.iter().product());
        NamedTensor { name: name.clone(), shape: shape.clone(), values }
    };
    shapes.iter().map(tensor).collect()
}

/// As [`hashed_weights`], in a file.
pub fn weights_file(folder: &Path, shapes: &[(String, Vec<usize>)]) -> PathBuf {
    let path = folder.join("weights.safetensors");
    write_tensors(&path, &hashed_weights(shapes), std::collections::HashMap::new()).unwrap();
    path
}
