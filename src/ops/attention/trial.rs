//! The test that the kernels of the linear form have to pass on a device before a schedule takes it: each pipeline, as it is to be
//! used, on two heads of three tiles, the last of one row, of the same size and causality.
//!
//! Operands are whole eighths, exact in f16 too; where dropout is compiled in, it keeps everything and doubles it. What a kernel reads
//! that another makes, the host makes. Results are right within what their roundings can come to, see [`super::bounded`].

use crate::{
    gpu::{Access, Element, ElementTypes, Gpu, GpuError, KernelSpec, Launch},
    kernels::{
        admission::{Guarded, before, judge, whole},
        flag,
    },
};

use super::{
    super::dropout::Dropout,
    bounded::{Bounded, Dual},
    flash::Flash,
    flash_specs::{FLASH, FLASH_GRADIENT, FLASH_ROWS, FLASH_TANGENT, FlashValues},
    known::Known,
    shape::{AttentionShape, PARTS},
};

const LENGTH: usize = 65;
const HEADS: usize = 2;

/// What dropout multiplies by.
const KEPT: f32 = 2.0;

/// A small attention like one that is wanted.
pub(super) struct Trial {
    pub(super) flash: Flash,
    element: Element,
}

/// Operands and results of a launch by the names of its bindings.
struct Tensors {
    qkv: Vec<Dual>,
    grad: Vec<Dual>,
    known: Known,
}

/// Those that a kernel writes.
fn results(spec: &KernelSpec) -> &'static [&'static str] {
    match spec.entry {
        entry if entry == FLASH.entry => &["output", "lse"],
        entry if entry == FLASH_ROWS.entry => &["rows"],
        entry if entry == FLASH_GRADIENT.entry => &["grad_qkv"],
        entry if entry == FLASH_TANGENT.entry => &["output_tangent", "mu"],
        _ => &["result"],
    }
}

/// `count` numbers of eighths up to 1, with tangents.
fn drawn(seeds: [u32; 2], count: usize) -> Vec<Dual> {
    let [value, tangent] = seeds.map(|seed| move |at| f64::from(whole(seed, at, 8)) / 8.0);
    (0..count).map(|at| Dual::exact(value(at), tangent(at))).collect()
}

fn has(launch: &Launch, name: &'static str) -> bool {
    launch.constants.contains(&flag(name, true))
}

impl Tensors {
    /// Those of a launch, of which some leave the gradient's tangent out.
    fn new(flash: &Flash, launch: &Launch) -> Self {
        let shape = flash.shape;
        let (qkv, mut grad) = (drawn([11, 12], shape.inputs()), drawn([13, 14], shape.outputs()));
        if !has(launch, "GRAD_TANGENT") {
            grad.iter_mut().for_each(|grad| grad.tangent = Bounded::default());
        }
        let kept = if flash.dropout.is_some() { f64::from(KEPT) } else { 1.0 };
        let known = Known::new(shape, kept, &qkv, &grad);
        Self { qkv, grad, known }
    }

    /// What is, or has to be, in a binding.
    fn named(&self, name: &str, launch: &Launch) -> Vec<Bounded> {
        let values = |numbers: &[Dual]| numbers.iter().map(|number| number.value).collect();
        let tangents = |numbers: &[Dual]| numbers.iter().map(|number| number.tangent).collect();
        match name {
            "qkv" => values(&self.qkv),
            "qkv_tangent" => tangents(&self.qkv),
            "grad" => values(&self.grad),
            "grad_tangent" => tangents(&self.grad),
            "output" => values(&self.known.output),
            "output_tangent" => tangents(&self.known.output),
            "lse" => values(&self.known.lse),
            "mu" => tangents(&self.known.lse),
            "grad_qkv" => values(&self.known.gradient),
            "result" => tangents(&self.known.gradient),
            _ => self.rows(launch.spec.entry == FLASH_ROWS.entry && !has(launch, "TANGENT")),
        }
    }

    /// L, mu, D and D's tangent; without tangents these are 0.
    fn rows(&self, still: bool) -> Vec<Bounded> {
        let tangent = |number: &Dual| if still { Bounded::default() } else { number.tangent };
        let row = |(lse, mean): (&Dual, &Dual)| [lse.value, tangent(lse), mean.value, tangent(mean)];
        self.known.lse.iter().zip(&self.known.means).flat_map(row).collect()
    }
}

impl Trial {
    /// One that tells of `wanted`, whose activations are stored as `element`.
    ///
    /// # Errors
    /// As [`AttentionShape::new`].
    pub(super) fn new(wanted: &Flash, element: Element) -> Result<Self, GpuError> {
        let AttentionShape { head_dim, causal, .. } = wanted.shape;
        let shape = AttentionShape::new([1, LENGTH, HEADS, head_dim], causal)?;
        let dropout = wanted.dropout.map(|dropout| Dropout { probability: 0.0, ..dropout });
        Ok(Self { flash: Flash { shape, dropout }, element })
    }

    /// Fails unless the device computes right what these launches of the trial's attention have it compute.
    ///
    /// # Errors
    /// [`GpuError::Refused`] with the reason.
    pub(super) fn admit(&self, gpu: &Gpu, launches: &[Launch]) -> Result<(), GpuError> {
        let AttentionShape { head_dim, causal, .. } = self.flash.shape;
        let types = ElementTypes { real_is_half: self.element == Element::Half, out_is_half: false };
        launches.iter().try_for_each(|launch| {
            let own = [("head_dim", head_dim as f64), flag("causal", causal)];
            let decisive = [&launch.constants[..], &own].concat();
            gpu.admit_stored(launch.spec, &decisive, types, || self.run(gpu, launch))
        })
    }

    /// Nothing, or what is wrong with a launch's results.
    fn run(&self, gpu: &Gpu, launch: &Launch) -> Result<Result<(), String>, GpuError> {
        let tensors = Tensors::new(&self.flash, launch);
        let (spec, results) = (launch.spec, results(launch.spec));
        let bound = |(name, access): &(&'static str, Access)| -> Result<Guarded, GpuError> {
            let element = if *access == Access::Real { self.element } else { Element::Word };
            let numbers = tensors.named(name, launch);
            let held = |(at, number): (usize, &Bounded)| match results.contains(name) {
                true => self.held(launch, name, at),
                false => number.value as f32,
            };
            let values: Vec<f32> = numbers.iter().enumerate().map(held).collect();
            Guarded::new(gpu, element, values.len(), Some(&values))
        };
        let bound: Vec<Guarded> = spec.bindings.iter().map(bound).collect::<Result<_, _>>()?;
        let views: Vec<_> = bound.iter().map(|tensor| &tensor.view).collect();
        let kept_scale = if self.flash.dropout.is_some() { KEPT } else { 1.0 };
        let values = FlashValues { kept_scale, ..self.flash.values() };
        let dispatch = gpu.bind(launch, &views, bytemuck::bytes_of(&values))?;
        let mut recorder = gpu.record();
        recorder.run(&dispatch);
        recorder.submit()?;
        gpu.wait_for_test()?;
        let written = spec.bindings.iter().zip(&bound).filter(|((name, _), _)| results.contains(name));
        let mut verdict = Ok(());
        for ((name, _), tensor) in written {
            let right = |found: Vec<f32>| self.judge(launch, name, &found, &tensors.named(name, launch));
            verdict = verdict.and(tensor.read(gpu)?.and_then(right));
        }
        Ok(verdict)
    }

    /// Whether the launch writes an element of a result: of a packed one the queries' or the others'.
    fn writes(&self, launch: &Launch, name: &str, at: usize) -> bool {
        let is_query = (at / self.flash.shape.channels()).is_multiple_of(PARTS);
        !["grad_qkv", "result"].contains(&name) || is_query != has(launch, "KEYS")
    }

    /// What an element of a result holds before.
    fn held(&self, launch: &Launch, name: &str, at: usize) -> f32 {
        if self.writes(launch, name, at) && !has(launch, "ACCUMULATE") { f32::NAN } else { before(at) }
    }

    fn judge(&self, launch: &Launch, name: &str, found: &[f32], sums: &[Bounded]) -> Result<(), String> {
        let expected = |at: usize, sum: &Bounded| {
            let held = Bounded::exact(f64::from(before(at)));
            match (self.writes(launch, name, at), has(launch, "ACCUMULATE")) {
                (false, _) => Bounded { size: 0.0, ..held },
                (true, true) => *sum + held,
                (true, false) => *sum,
            }
        };
        let expected: Vec<Bounded> = sums.iter().enumerate().map(|(at, sum)| expected(at, sum)).collect();
        let values: Vec<Option<f64>> = expected.iter().map(|number| Some(number.value)).collect();
        judge(name, found, &values, |at, _| self.units() * expected[at].size)
    }

    /// How far results may be off, relative to their sizes: the roundings of f32 that one result is made by, and of f16 where
    /// activations are.
    fn units(&self) -> f64 {
        let AttentionShape { length, head_dim, .. } = self.flash.shape;
        // Two sums over a head's elements or over positions where there are tangents; exponentials, logarithm and quotients.
        let roundings = (2 * (length + head_dim) + 64) as f64;
        let stored = if self.element == Element::Half { 2f64.powi(-10) } else { 0.0 };
        roundings * 2f64.powi(-24) + stored
    }
}
