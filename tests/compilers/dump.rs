//! Writes every kernel for the compilers that scripts/compilers.sh runs, and counts what naga's own writers accept:
//!
//!     jostle-compilers FOLDER
//!
//! `FOLDER/tint` and `FOLDER/dxc` hold the texts, and in `list.json` what a compiler has to be told of each.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use jostle_compilers::{Overrides, Source, hlsl, msl, shown, sources, web};
use serde_json::{Value, json};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("jostle-compilers FOLDER")?.into();
    let sources = sources()?;
    write_list(&folder.join("tint"), sources.iter().map(tint_entry))?;
    write_list(&folder.join("dxc"), sources.iter().flat_map(dxc_entries))?;
    let refusals = msl_refusals(&sources);
    for words in &refusals {
        println!("naga's MSL: refused: {words}");
    }
    let choices: usize = sources.iter().map(|source| source.variants().len()).sum();
    println!("naga's MSL: {} of {choices} accepted, of {} modules", choices - refusals.len(), sources.len());
    Ok(if refusals.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A text with what its compiler has to be told; without a text where naga has none, and why.
struct Entry {
    name: String,
    text: Result<(&'static str, String), String>,
    told: Value,
}

fn write_list(folder: &Path, entries: impl Iterator<Item = Entry>) -> Result<(), Box<dyn Error>> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let mut list = Vec::new();
    for Entry { name, text, mut told } in entries {
        match text {
            Ok((extension, text)) => {
                let file = format!("{name}.{extension}");
                fs::write(folder.join(&file), text)?;
                told["file"] = file.into();
            }
            Err(words) => told["refusal"] = words.into(),
        }
        told["name"] = name.into();
        list.push(told);
    }
    fs::write(folder.join("list.json"), serde_json::to_string_pretty(&list)?)?;
    Ok(())
}

/// One text a module: Tint takes its overrides as the engine sends them.
fn tint_entry(source: &Source) -> Entry {
    let variants: Vec<Value> = source
        .variants()
        .iter()
        .map(|overrides| overrides.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect())
        .collect();
    let access: Vec<bool> = source.spec.bindings.iter().map(|(_, access)| access.is_read_only()).collect();
    let told = json!({
        "entry": source.spec.entry,
        "f16": source.has_f16(),
        "immediate_bytes": source.spec.immediate_bytes,
        "read_only": access,
        "variants": variants,
    });
    Entry { name: source.name(), text: Ok(("wgsl", web::text(source))), told }
}

/// One text a choice, less those that are the same as another.
fn dxc_entries(source: &Source) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for overrides in source.variants() {
        let entry = dxc_entry(source, &overrides);
        if !entries.iter().any(|known| known.text == entry.text) {
            entries.push(entry);
        }
    }
    entries
}

fn dxc_entry(source: &Source, overrides: &Overrides<'_>) -> Entry {
    let name = [source.name(), shown(overrides).replace(' ', "-")].join(if overrides.is_empty() { "" } else { "-" });
    match hlsl::write(source, overrides, false) {
        Ok(hlsl) => {
            let told = json!({ "entry": hlsl.entry, "profile": hlsl.profile, "f16": source.has_f16() });
            Entry { name, text: Ok(("hlsl", hlsl.text)), told }
        }
        Err(words) => Entry { name, text: Err(words), told: json!({ "entry": source.spec.entry }) },
    }
}

fn msl_refusals(sources: &[Source]) -> Vec<String> {
    let mut refusals = Vec::new();
    for source in sources {
        for overrides in source.variants() {
            let written = msl::VERSIONS.iter().map(|version| msl::write(source, &overrides, *version, false));
            let words = written.filter_map(Result::err).next();
            refusals.extend(words.map(|words| format!("{} {}: {words}", source.name(), shown(&overrides))));
        }
    }
    refusals
}
