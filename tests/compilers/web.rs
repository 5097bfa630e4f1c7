//! Browsers: the WGSL that Tint, the compiler of Chrome and Dawn, is given.

use crate::Source;

/// The kernel's WGSL with `enable subgroups;` before it where it needs that: WebGPU asks for it, naga 30 refuses it.
#[must_use]
pub fn text(source: &Source) -> String {
    let enable = if uses_subgroups(&source.text) { "enable subgroups; " } else { "" };
    format!("{enable}{}", source.text)
}

/// Whether the WGSL names anything of subgroups outside of its comments, which are all of lines.
#[must_use]
pub fn uses_subgroups(text: &str) -> bool {
    text.lines().any(|line| {
        let code = line.split_once("//").map_or(line, |(code, _)| code);
        code.contains("subgroup")
    })
}
