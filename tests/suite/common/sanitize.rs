//! Dispatches run once more by the sanitizer: `JOSTLE_SANITIZE=N` has it run the first N of each pipeline, in every test that takes the
//! common device.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{LazyLock, Mutex},
};

use jostle::gpu::{After, DeviceMemory, Faults, View, Watch, Watched};
use jostle_sanitizer::{Fault, Kernel, Kind, Launch, Outcome, Part};

/// Sizes of subgroups: llvmpipe's and some of Intel's, those of most GPUs, those of AMD's older ones.
const SUBGROUPS: [u32; 3] = [8, 32, 64];

/// Values of expressions that a launch may take: a second or so.
const STEPS: u64 = 40_000_000;

/// The most that results may differ, of the largest value: sums are added in another order.
const CLOSE: f32 = 2e-4;

/// Bindings are whole vec4s.
const VEC4_BYTES: usize = 16;

/// Launches of each pipeline that the environment asks for.
pub fn wanted() -> Option<usize> {
    let asked = std::env::var("JOSTLE_SANITIZE").ok()?;
    Some(asked.parse().expect("JOSTLE_SANITIZE is a number of launches"))
}

/// What the environment asks for.
pub fn faults() -> Faults {
    Faults { watch: wanted().map(|_| watch as Watch), ..Faults::default() }
}

/// Whether a pipeline has not been run often enough.
fn is_wanted(watched: &Watched<'_>) -> bool {
    static RUNS: LazyLock<Mutex<HashMap<String, usize>>> = LazyLock::new(Mutex::default);
    let key = format!("{} {:?} {}", watched.entry, watched.constants, watched.wgsl.starts_with("enable f16"));
    let mut runs = RUNS.lock().unwrap();
    let count = runs.entry(key).or_default();
    *count += 1;
    *count <= wanted().unwrap_or(1)
}

/// The bindings' buffers, each from its first byte that is bound to its last, and where the bindings lie in them.
struct Memory {
    views: Vec<View>,
    bytes: Vec<Vec<u8>>,
    parts: Vec<Part>,
}

impl Memory {
    fn new(gpu: &dyn DeviceMemory, views: &[View]) -> Self {
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
        let bound = parts.iter().zip(views).map(|(&(buffer, start), view)| Part {
            buffer,
            start: (start - spans[buffer].span().start) * 4,
            len: (view.span().len() * 4).next_multiple_of(VEC4_BYTES),
        });
        let parts = bound.collect();
        let mut bytes = read(gpu, &spans);
        bytes.iter_mut().for_each(|bytes| bytes.resize(bytes.len().next_multiple_of(VEC4_BYTES), 0));
        Self { views: spans, bytes, parts }
    }
}

fn read(gpu: &dyn DeviceMemory, views: &[View]) -> Vec<Vec<u8>> {
    let bytes = |view: &View| gpu.words(view).unwrap().into_iter().flat_map(u32::to_le_bytes).collect();
    views.iter().map(bytes).collect()
}

/// Some workgroups of a grid: neighbours, one in the middle and the last.
fn workgroups(grid: [u32; 3]) -> Vec<[u32; 3]> {
    let count: u32 = grid.iter().product();
    let numbers = BTreeSet::from([0, 1, count / 2, count - 1].map(|number| number.min(count - 1)));
    let [x, y, _] = grid;
    numbers.into_iter().map(|number| [number % x, number / x % y, number / (x * y)]).collect()
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
        Self {
            name: format!("{} {:?} on {:?}", watched.entry, watched.constants, watched.grid),
            kernel: Kernel::new(&watched.wgsl, watched.entry, watched.constants).unwrap(),
            memory: Memory::new(gpu, watched.views),
            grid: watched.grid.0,
            immediates: watched.immediates.to_vec(),
            is_checked: watched.is_checked,
        }
    }

    /// Runs some workgroups; nothing where that takes too long.
    ///
    /// # Panics
    /// Where something is wrong.
    fn run(&self, subgroup: u32, workgroups: &[[u32; 3]]) -> Option<Outcome> {
        let name = format!("{}, subgroups of {subgroup}", self.name);
        let launch = Launch::new(subgroup, self.grid, &self.immediates, &self.memory.bytes, &self.memory.parts);
        let outcome = match self.kernel.run(&Launch { steps: STEPS, ..launch }, workgroups) {
            Ok(outcome) => outcome,
            Err(Fault::TooLong) => {
                println!("too long for the sanitizer: {name}");
                return None;
            }
            Err(fault) => panic!("{name}: {fault}"),
        };
        let wrong = outcome.findings.iter().filter(|finding| !(self.is_checked && finding.kind == Kind::Outside));
        let wrong: Vec<String> = wrong.map(ToString::to_string).collect();
        assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
        Some(outcome)
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
    // Kernels for software adapters are for subgroups of one size.
    let lanes = watched.constants.iter().find(|(name, _)| *name == "LANES").map(|(_, lanes)| *lanes as u32);
    let sizes = match lanes {
        Some(lanes) => vec![lanes],
        None if checked.kernel.has_subgroups() => SUBGROUPS.to_vec(),
        None => vec![SUBGROUPS[0]],
    };
    let some = workgroups(watched.grid.0);
    let outcomes: Vec<(u32, Outcome)> =
        sizes.into_iter().filter_map(|size| Some((size, checked.run(size, &some)?))).collect();
    Some(Box::new(move |gpu| {
        let found = read(gpu, &checked.memory.views);
        for (subgroup, outcome) in &outcomes {
            compare(&format!("{}, subgroups of {subgroup}", checked.name), outcome, &found);
        }
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
    let [x, y, z] = watched.grid.0;
    let all = (0..x * y * z).map(|number| [number % x, number / x % y, number / (x * y)]);
    let outcome = checked.run(SUBGROUP, &all.collect::<Vec<_>>()).expect("so few workgroups end in time");
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

/// Fails where the device has made something else of what the kernel wrote.
fn compare(name: &str, outcome: &Outcome, found: &[Vec<u8>]) {
    for (expected, found) in outcome.buffers.iter().zip(found) {
        let word = |bytes: &[u8], i: usize| u32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap());
        // Words of which both halves are written.
        let halves = expected.written.windows(2).filter(|pair| pair[0] % 2 == 0 && pair[1] == pair[0] + 1);
        let written: Vec<usize> = halves.map(|pair| pair[0] / 2).collect();
        let largest = written.iter().map(|i| f32::from_bits(word(found, *i)).abs());
        let largest = largest.filter(|value| value.is_finite()).fold(0.0, f32::max);
        for i in written {
            let [expected, found] = [word(&expected.bytes, i), word(found, i)];
            let [x, y] = [expected, found].map(f32::from_bits);
            let is_close = expected == found || (x.is_nan() && y.is_nan()) || (x - y).abs() <= CLOSE * largest;
            assert!(is_close, "{name}: word {i}, {x} ({expected:#x}) here and {y} ({found:#x}) on the device");
        }
    }
}
