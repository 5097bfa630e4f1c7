//! No circle among files: what each file of `src` takes from which other, read off its imports and paths.
//!
//! A name is followed through re-exports to the file that defines it, so that a `mod.rs` that only hands on what its
//! children define ties nothing. What hangs on methods and fields alone is not seen. Code under `#[cfg(test)]` is left
//! out: a test may reach for whatever it tests with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use crate::common::places::{root, rust_files};

const ITEMS: [&str; 9] = ["fn", "struct", "enum", "trait", "type", "const", "static", "union", "mod"];

/// How many re-exports a name is followed through: more than any has, so that imports of one another come to an end.
const FUEL: usize = 16;

type Path = Vec<String>;

struct Import {
    /// `*` for all names of a module.
    name: String,
    path: Path,
    /// `pub use`, of any visibility.
    handed_on: bool,
}

/// What one file says.
#[derive(Default)]
struct Source {
    file: String,
    defines: BTreeSet<String>,
    children: Vec<String>,
    imports: Vec<Import>,
    /// The paths in its code, single names too.
    paths: BTreeSet<Path>,
}

/// Where a path leads.
enum Target {
    Module(Path),
    /// The file that defines it, and its name there.
    Item(String, String),
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The bytes of a comment, literal or lifetime at the start of the text; 0 where there is none.
fn skipped(text: &str) -> usize {
    let to = |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("//") {
        return to("\n", 0);
    }
    if text.starts_with("/*") {
        return to("*/", 0);
    }
    let hashes = text.strip_prefix('r').map_or(0, |rest| rest.len() - rest.trim_start_matches('#').len());
    if text.starts_with('r') && text[1 + hashes..].starts_with('"') {
        return to(&format!("\"{}", "#".repeat(hashes)), 2 + hashes);
    }
    if text.starts_with('"') {
        let mut signs = text.char_indices().skip(1);
        while let Some((at, c)) = signs.next() {
            match c {
                '\\' => drop(signs.next()),
                '"' => return at + 1,
                _ => {}
            }
        }
        return text.len();
    }
    let Some(rest) = text.strip_prefix('\'') else { return 0 };
    if rest.starts_with('\\') {
        return to("'", 3);
    }
    let first = rest.chars().next().map_or(0, char::len_utf8);
    if rest[first..].starts_with('\'') { first + 2 } else { 1 + rest.find(|c| !is_word(c)).unwrap_or(rest.len()) }
}

/// Words, `::` and single signs.
fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = skipped(rest);
        let length = match c {
            _ if skip > 0 => skip,
            _ if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => c.len_utf8(),
        };
        if skip == 0 && !c.is_whitespace() {
            found.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    without_tests(&found)
}

/// Without what `#[cfg(test)]` stands before.
fn without_tests<'a>(tokens: &[&'a str]) -> Vec<&'a str> {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].starts_with(&mark) {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        at += mark.len();
        let mut depth = 0;
        while at < tokens.len() {
            depth += i32::from(tokens[at] == "{") - i32::from(tokens[at] == "}");
            at += 1;
            if depth == 0 && matches!(tokens[at - 1], ";" | "}") {
                break;
            }
        }
    }
    kept
}

/// The path at the start, of one name or several.
fn path_of(tokens: &[&str]) -> Path {
    let more = tokens[1..].chunks_exact(2).take_while(|pair| pair[0] == "::" && pair[1].starts_with(is_word));
    [tokens[0]].into_iter().chain(more.map(|pair| pair[1])).map(str::to_owned).collect()
}

impl Source {
    fn read(file: &str, text: &str) -> Self {
        let tokens = tokens(text);
        let mut source = Self { file: file.to_owned(), ..Self::default() };
        let mut outer = vec![true]; // whether what stands in each open brace is an item of the file
        let mut at = 0;
        while at < tokens.len() {
            let before = if at == 0 { "" } else { tokens[at - 1] };
            let next = tokens.get(at + 1).copied().unwrap_or_default();
            let at_top = outer.last() == Some(&true);
            match tokens[at] {
                "use" if next != "<" => {
                    at = source.import(&tokens, at + 1, &[], matches!(before, "pub" | ")"));
                    continue;
                }
                "{" => outer.push(at_top && before == "!"),
                "}" => {
                    outer.pop();
                }
                "mod" if tokens.get(at + 2) == Some(&";") => source.children.push(next.to_owned()),
                "macro_rules" => {
                    source.defines.insert(tokens[at + 2].to_owned());
                }
                item if at_top && ITEMS.contains(&item) => {
                    source.defines.insert(next.to_owned());
                }
                word if word.starts_with(is_word) && !matches!(before, "." | "::" | "mod" | "fn") => {
                    source.paths.insert(path_of(&tokens[at..]));
                }
                _ => {}
            }
            at += 1;
        }
        source
    }

    /// Reads a tree of imports from its first word; gives the place after it.
    fn import(&mut self, tokens: &[&str], mut at: usize, prefix: &[String], handed_on: bool) -> usize {
        let mut path = prefix.to_vec();
        loop {
            match tokens[at] {
                "{" => {
                    while tokens[at] != "}" {
                        at = self.import(tokens, at + 1, &path, handed_on);
                    }
                    return at + 1;
                }
                "::" => {}
                "self" if !path.is_empty() => {}
                "," | "}" | ";" => break,
                "as" => {
                    self.imports.push(Import { name: tokens[at + 1].to_owned(), path, handed_on });
                    return at + 2;
                }
                word => path.push(word.to_owned()),
            }
            at += 1;
        }
        let name = path.last().cloned().unwrap_or_default();
        if path.len() > prefix.len() || tokens[at - 1] == "self" {
            self.imports.push(Import { name, path, handed_on });
        }
        at
    }
}

/// The files by their modules, each of which begins with its crate's name.
struct House(BTreeMap<Path, Source>);

impl House {
    /// Follows the declarations of modules from the crates' roots.
    fn build(texts: &BTreeMap<String, String>) -> Self {
        let mut house = Self(BTreeMap::new());
        for (file, name) in [("lib.rs", "jostle"), ("main.rs", "main")] {
            house.add(texts, vec![name.to_owned()], file);
        }
        house
    }

    fn add(&mut self, texts: &BTreeMap<String, String>, module: Path, file: &str) {
        let Some(text) = texts.get(file) else { return };
        let source = Source::read(file, text);
        for child in &source.children {
            let path: Path = module.iter().chain([child]).cloned().collect();
            let folder = path[1..].join("/");
            self.add(texts, path.clone(), &format!("{folder}.rs"));
            self.add(texts, path, &format!("{folder}/mod.rs"));
        }
        self.0.insert(module, source);
    }

    fn resolve(&self, from: &Path, path: &[String], fuel: usize) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(from[..1].to_vec()),
            "jostle" => Target::Module(vec![first.clone()]),
            "self" => Target::Module(from.clone()),
            "super" => Target::Module(from[..from.len() - 1].to_vec()),
            _ => self.look_up(from, first, rest.is_empty(), fuel)?,
        };
        while let (Target::Module(module), Some((name, more))) = (&target, rest.split_first()) {
            target = match name.as_str() {
                "super" => Target::Module(module[..module.len() - 1].to_vec()),
                "*" => return Some(target),
                _ => self.look_up(module, name, more.is_empty(), fuel)?,
            };
            rest = more;
        }
        Some(target)
    }

    /// A name in a module; the last of a path is an item rather than a module of the same name.
    fn look_up(&self, module: &Path, name: &str, last: bool, fuel: usize) -> Option<Target> {
        let fuel = fuel.checked_sub(1)?;
        let source = self.0.get(module)?;
        let child: Path = module.iter().cloned().chain([name.to_owned()]).collect();
        let child = self.0.contains_key(&child).then_some(Target::Module(child));
        if !last && child.is_some() {
            return child;
        }
        if source.defines.contains(name) {
            return Some(Target::Item(source.file.clone(), name.to_owned()));
        }
        let named = source.imports.iter().filter(|import| import.name == name);
        let found = named.filter_map(|import| self.resolve(module, &import.path, fuel)).next();
        found.or(child).or_else(|| {
            let all = source.imports.iter().filter(|import| import.name == "*");
            let mut modules = all.filter_map(|import| self.resolve(module, &import.path, fuel));
            modules.find_map(|target| match target {
                Target::Module(other) if other != *module => self.look_up(&other, name, last, fuel),
                _ => None,
            })
        })
    }

    /// Each file with the files that it takes names from, and the names.
    fn ties(&self) -> BTreeMap<&str, BTreeMap<String, BTreeSet<String>>> {
        let mut ties: BTreeMap<&str, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (module, source) in &self.0 {
            let own = source.imports.iter().filter(|import| !import.handed_on).map(|import| &import.path);
            for path in own.chain(&source.paths) {
                if let Some(Target::Item(file, name)) = self.resolve(module, path, FUEL)
                    && file != source.file
                {
                    ties.entry(&source.file).or_default().entry(file).or_default().insert(name);
                }
            }
        }
        ties
    }

    /// Each circle, in words: its files and what ties them.
    fn circles(&self) -> Vec<String> {
        let ties = self.ties();
        let reach = |from: &str| {
            let mut seen = BTreeSet::new();
            let mut open = vec![from.to_owned()];
            while let Some(file) = open.pop() {
                let next = ties.get(file.as_str()).into_iter().flat_map(BTreeMap::keys);
                open.extend(next.filter(|file| seen.insert((*file).clone())).cloned());
            }
            seen
        };
        let reached: BTreeMap<&str, BTreeSet<String>> = ties.keys().map(|file| (*file, reach(file))).collect();
        let mut told = BTreeSet::new();
        for (file, there) in &reached {
            let back = |other: &&String| reached.get(other.as_str()).is_some_and(|back| back.contains(*file));
            let circle: BTreeSet<&String> = there.iter().filter(back).collect();
            let mut words = String::new();
            for from in &circle {
                for (to, names) in ties[from.as_str()].iter().filter(|(to, _)| circle.contains(to)) {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    writeln!(words, "    {from} -> {to}: {}", names.join(", ")).unwrap();
                }
            }
            if !circle.is_empty() {
                told.insert(words);
            }
        }
        told.into_iter().collect()
    }
}

#[test]
fn files_take_from_one_another_in_no_circle() {
    let source = root().join("src");
    let relative = |file: &std::path::Path| file.strip_prefix(&source).unwrap().to_str().unwrap().replace('\\', "/");
    let texts: BTreeMap<String, String> =
        rust_files(&source).iter().map(|file| (relative(file), fs::read_to_string(file).unwrap())).collect();
    let house = House::build(&texts);
    let circles = house.circles();
    assert!(house.0.len() > 100, "the test looked in the wrong place: {} files", house.0.len());
    assert!(circles.is_empty(), "{} circles of files:\n{}", circles.len(), circles.join("\n"));
}

#[test]
fn circles_are_seen_through_re_exports_and_nowhere_else() {
    let circles = |files: &[(&str, &str)]| {
        let texts = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
        House::build(&texts.collect()).circles()
    };
    let root = ("lib.rs", "mod room; pub use room::Low;");
    let shelf = ("room/mod.rs", "mod high; mod low; pub(crate) use high::{High as Tall, climb}; pub use low::Low;");
    let high = ("room/high.rs", "use super::Low; pub struct High(Low); pub fn climb() {}");
    let found = ["    room/high.rs -> room/low.rs: Low\n    room/low.rs -> room/high.rs: High\n"];
    for low in [
        "use crate::room; pub struct Low; fn f(x: room::Tall) {}",
        "use super::{self as up, high::High}; pub struct Low;",
        "pub struct Low(Option<super::Tall>);",
        "use crate::room::*; pub struct Low; impl From<Tall> for Low {}",
    ] {
        assert_eq!(circles(&[root, shelf, high, ("room/low.rs", low)]), found, "{low}");
    }
    for low in [
        "pub struct Low; // super::Tall",
        "pub struct Low; const TEXT: &str = \"super::Tall \\\" super::climb()\";",
        "pub struct Low; #[cfg(test)] mod tests { use super::super::Tall; fn f() {} }",
        "use super::Low as Own; pub struct Low; fn f<'a>(climb: &'a Own) { std::mem::drop(climb.climb) }",
    ] {
        assert!(circles(&[root, shelf, high, ("room/low.rs", low)]).is_empty(), "{low}");
    }
    // What a mod.rs does itself counts, as what it hands on does not.
    let calls = ("room/mod.rs", "mod high; mod low; pub use high::climb; pub use low::Low; fn f() { climb() }");
    let back = ("room/high.rs", "pub fn climb() { super::f() }");
    let found = ["    room/high.rs -> room/mod.rs: f\n    room/mod.rs -> room/high.rs: climb\n"];
    assert_eq!(circles(&[root, calls, back, ("room/low.rs", "pub struct Low;")]), found);
}
