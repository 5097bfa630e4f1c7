//! Dispatches run once more by the sanitizer: `JOSTLE_SANITIZE=N` has it run the first N launches of each pipeline, in every test that takes
//! the common device.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{LazyLock, Mutex},
};

use half::f16;
use jostle::gpu::{After, DeviceMemory, Faults, View, Watch, Watched};
use jostle_sanitizer::{Kernel, Kind, Launch, Outcome, Part};
use naga::ScalarKind;

/// Sizes of subgroups: llvmpipe's and some of Intel's, those of most GPUs, those of AMD's older ones.
const SUBGROUPS: [u32; 3] = [8, 32, 64];

/// Values of expressions that a launch may take: a second or so.
const STEPS: u64 = 40_000_000;

/// The most that results may differ, of the largest value: sums are added in another order.
const CLOSE: f64 = 2e-4;

/// The most that results in f16 may: two roundings.
const CLOSE_HALF: f64 = 2e-3;

/// Bindings are whole vec4s.
const VEC4_BYTES: usize = 16;

/// Launches of tensors of fewer bytes than these in all that count as one: of so little one round of a loop may be all there is.
const FEW_BYTES: u64 = 4096;
const SMALL: usize = 4;

/// Launches of each pipeline that the environment asks for.
pub fn wanted() -> Option<usize> {
    let asked = std::env::var("JOSTLE_SANITIZE").ok()?;
    Some(asked.parse().expect("JOSTLE_SANITIZE is a number of launches"))
}

/// What the environment asks for.
pub fn faults() -> Faults {
    Faults { watch: wanted().map(|_| watch as Watch), ..Faults::default() }
}

/// A pipeline: the kernel as it is written for its tensors, and its overrides.
type Pipeline = (String, String);

/// What of each pipeline has been run, in launches of few bytes.
static RUNS: LazyLock<Mutex<HashMap<Pipeline, usize>>> = LazyLock::new(Mutex::default);

fn pipeline(watched: &Watched<'_>) -> Pipeline {
    (watched.wgsl.clone(), format!("{:?}", watched.constants))
}

/// Whether a pipeline has not been run often enough.
fn is_wanted(watched: &Watched<'_>) -> bool {
    let runs = RUNS.lock().unwrap();
    runs.get(&pipeline(watched)).is_none_or(|done| *done < SMALL * wanted().unwrap_or(1))
}

/// Counts a run: one that says little as one of few bytes.
fn count(watched: &Watched<'_>, is_whole: bool) {
    let says_little = !is_whole || watched.views.iter().map(View::bytes).sum::<u64>() < FEW_BYTES;
    *RUNS.lock().unwrap().entry(pipeline(watched)).or_default() += if says_little { 1 } else { SMALL };
}

/// The bindings' buffers, each from its first byte that is bound to its last, and where the bindings lie in them.
struct Memory {
    views: Vec<View>,
    bytes: Vec<Vec<u8>>,
    parts: Vec<Part>,
}

impl Memory {
    fn new(gpu: &dyn DeviceMemory, kernel: &Kernel, views: &[View]) -> Self {
        let mut spans: Vec<View> = Vec::new();
        let mut parts: Vec<(usize, usize)> = Vec::new();
        for view in views {
            let place = spans.iter().position(|span| span.shares_buffer(view));
            let place = place.unwrap_or_else(|| {
                spans.push(view.clone());
                spans.len() - 1
            });
            let (own, all) = (view.span(), spans[place].span());
            spans[place] = view.around(own.start.min(all.start)..own.end.max(all.end)).unwrap();
            parts.push((place, own.start));
        }
        let of_vectors: BTreeSet<u32> =
            kernel.bindings().into_iter().filter(|(.., count)| *count > 1).map(|(binding, ..)| binding).collect();
        let bound = parts.iter().zip(views).enumerate().map(|(binding, (&(buffer, start), view))| {
            let bytes = view.bytes() as usize;
            let bound = bytes.next_multiple_of(VEC4_BYTES);
            // Kernels that read vec4s read the last one whole.
            let len = if of_vectors.contains(&(binding as u32)) { bound } else { bytes };
            Part { buffer, start: (start - spans[buffer].span().start) * 4, bound, len }
        });
        let parts = bound.collect();
        let mut bytes = read(gpu, &spans);
        for bytes in &mut bytes {
            while !bytes.len().is_multiple_of(VEC4_BYTES) {
                bytes.extend(f32::NAN.to_le_bytes());
            }
        }
        Self { views: spans, bytes, parts }
    }
}

fn read(gpu: &dyn DeviceMemory, views: &[View]) -> Vec<Vec<u8>> {
    let bytes = |view: &View| gpu.words(view).unwrap().into_iter().flat_map(u32::to_le_bytes).collect();
    views.iter().map(bytes).collect()
}

/// A workgroup by its number.
fn workgroup(number: u32, [x, y, _]: [u32; 3]) -> [u32; 3] {
    [number % x, number / x % y, number / (x * y)]
}

/// Some workgroups of a grid: the first with its neighbours, one in the middle and the last.
fn workgroups(grid: [u32; 3]) -> Vec<[u32; 3]> {
    let [x, y, _] = grid;
    let count: u32 = grid.iter().product();
    let numbers = BTreeSet::from([0, 1, x, x * y, count / 2, count - 1].map(|number| number.min(count - 1)));
    numbers.into_iter().map(|number| workgroup(number, grid)).collect()
}

/// A dispatch as the sanitizer sees it.
struct Checked {
    name: String,
    kernel: Kernel,
    memory: Memory,
    grid: [u32; 3],
    immediates: Vec<u8>,
    /// Its indices are checked at run time: they may lead out.
    is_checked: bool,
}

impl Checked {
    fn new(gpu: &dyn DeviceMemory, watched: &Watched<'_>) -> Self {
        let kernel = Kernel::new(&watched.wgsl, watched.entry, watched.constants).unwrap();
        Self {
            name: format!("{} {:?} on {:?}", watched.entry, watched.constants, watched.grid),
            memory: Memory::new(gpu, &kernel, watched.views),
            kernel,
            grid: watched.grid.0,
            immediates: watched.immediates.to_vec(),
            is_checked: watched.is_checked,
        }
    }

    /// Runs some workgroups; nothing comes of it where that takes too long.
    ///
    /// # Panics
    /// Where something is wrong.
    fn run(&self, subgroup: u32, workgroups: &[[u32; 3]]) -> Option<Outcome> {
        let name = format!("{}, subgroups of {subgroup}", self.name);
        let launch = Launch::new(subgroup, self.grid, &self.immediates, &self.memory.bytes, &self.memory.parts);
        let run = self.kernel.run(&Launch { steps: STEPS, ..launch }, workgroups);
        let outcome = run.unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let wrong = outcome.findings.iter().filter(|finding| !(self.is_checked && finding.kind == Kind::Outside));
        let wrong: Vec<String> = wrong.map(ToString::to_string).collect();
        assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
        if !outcome.is_whole {
            println!("too long for the sanitizer: {name}");
        }
        outcome.is_whole.then_some(outcome)
    }

    /// Fails where the device has made something else of what the kernel wrote: each binding by its type, what several see by the
    /// first.
    fn compare(&self, subgroup: u32, outcome: &Outcome, found: &[Vec<u8>]) {
        let mut seen: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); found.len()];
        for (binding, scalar, _) in self.kernel.bindings() {
            let Part { buffer, start, len, .. } = self.memory.parts[binding as usize];
            let width = usize::from(scalar.width);
            let written = &outcome.buffers[buffer].written;
            let own = written.partition_point(|unit| 2 * unit < start)
                ..written.partition_point(|unit| 2 * unit < start + len);
            let places = written[own].iter().map(|unit| 2 * unit).filter(|at| at.is_multiple_of(width));
            let new: Vec<usize> =
                places.filter(|at| at + width <= found[buffer].len() && seen[buffer].insert(*at)).collect();
            let value = |bytes: &[u8], at: usize| value(&bytes[at..at + width], scalar.kind);
            let largest = new.iter().map(|at| value(&found[buffer], *at).abs());
            let largest = largest.filter(|value| value.is_finite()).fold(0.0, f64::max);
            for at in new {
                let [x, y] = [&outcome.buffers[buffer].bytes, &found[buffer]].map(|bytes| value(bytes, at));
                let bound = match (scalar.kind, width) {
                    (ScalarKind::Float, 2) => CLOSE_HALF * largest,
                    (ScalarKind::Float, _) => CLOSE * largest,
                    _ => 0.0,
                };
                let is_close = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= bound;
                let name = &self.name;
                assert!(
                    is_close,
                    "{name}, subgroups of {subgroup}: binding {binding}, byte {at}: {x} here, {y} on the device"
                );
            }
        }
    }
}

/// A scalar's value; that of an integer is its bits'.
fn value(bytes: &[u8], kind: ScalarKind) -> f64 {
    match (kind, bytes) {
        (ScalarKind::Float, [a, b]) => f16::from_le_bytes([*a, *b]).to_f64(),
        (ScalarKind::Float, [a, b, c, d]) => f64::from(f32::from_le_bytes([*a, *b, *c, *d])),
        (_, [a, b, c, d]) => f64::from(u32::from_le_bytes([*a, *b, *c, *d])),
        other => panic!("{other:?}"),
    }
}

/// Runs a dispatch by the sanitizer, then compares what the device makes of it.
///
/// # Panics
/// Where either finds something wrong.
pub fn watch(gpu: &dyn DeviceMemory, watched: &Watched<'_>) -> Option<After> {
    if !is_wanted(watched) {
        return None;
    }
    let checked = Checked::new(gpu, watched);
    // Kernels for software adapters that have subgroups are for those of one size.
    let lanes = watched.constants.iter().find(|(name, _)| *name == "LANES").map(|(_, lanes)| *lanes as u32);
    let sizes = match (checked.kernel.has_subgroups(), lanes) {
        (true, Some(lanes)) => vec![lanes],
        (true, None) => SUBGROUPS.to_vec(),
        (false, _) => vec![SUBGROUPS[0]],
    };
    let some = workgroups(watched.grid.0);
    let outcomes: Vec<(u32, Outcome)> =
        sizes.into_iter().filter_map(|size| Some((size, checked.run(size, &some)?))).collect();
    count(watched, !outcomes.is_empty());
    Some(Box::new(move |gpu| {
        let found = read(gpu, &checked.memory.views);
        outcomes.iter().for_each(|(subgroup, outcome)| checked.compare(*subgroup, outcome, &found));
    }))
}

/// Does a dispatch in the place of the device where that has no compiler for its cooperative matrices, with subgroups of a size.
///
/// # Panics
/// Where the sanitizer finds something wrong.
pub fn compute<const SUBGROUP: u32>(gpu: &dyn DeviceMemory, watched: &Watched<'_>) -> Option<After> {
    if !watched.wgsl.contains(COOPERATIVE) {
        return None;
    }
    let checked = Checked::new(gpu, watched);
    let grid = watched.grid.0;
    let all: Vec<_> = (0..grid.iter().product()).map(|number| workgroup(number, grid)).collect();
    let outcome = checked.run(SUBGROUP, &all).expect("so few workgroups end in time");
    Some(Box::new(move |gpu| {
        for (view, buffer) in checked.memory.views.iter().zip(&outcome.buffers) {
            let words = buffer.bytes.chunks_exact(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
            gpu.put(view, &words.take(view.span().len()).collect::<Vec<_>>()).unwrap();
        }
    }))
}

/// What kernels by cooperative matrices begin with.
const COOPERATIVE: &str = "enable wgpu_cooperative_matrix;";

/// A kernel by cooperative matrices with its overrides alone, for a device that cannot compile it; of others nothing is changed.
pub fn without_matrices(text: &str) -> String {
    if !text.contains(COOPERATIVE) {
        return text.to_owned();
    }
    let declared = text.lines().filter(|line| line.starts_with("override ") || line.starts_with("const "));
    let entry = &text[text.find("@compute").unwrap()..];
    format!("{}\n{}) {{}}\n", declared.collect::<Vec<_>>().join("\n"), &entry[..=entry.find("(\n").unwrap()])
}
