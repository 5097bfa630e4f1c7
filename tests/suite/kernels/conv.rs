//! Convolutions: every variant and pass against f64 over random kernels, strides, paddings, dilations and groups.

use crate::common::{
    Guarded, ROUNDOFF, assert_within, bits, device, guarded, guarded_as, hash,
    images::{conv_terms, padded, unpadded},
    poisoned, poisoned_as,
    reference::{activate, derivative, saved},
    rounding, run, samples, stored, wide,
};
use jostle::{
    all_specs,
    gpu::{Element, Gpu, GpuError, Grid},
    kernels::{
        AdapterClass, BlockTile, ConvOptions, ConvPass, ConvShape, ConvVariant, Epilogue, MatmulShape, MatmulVariant,
        PackJob, ProductOperands, conv, conv_pack, matmul, padded_channels,
    },
};

/// A convolution on the host: images channel-first, weights in PyTorch's layout.
#[derive(Clone)]
pub(super) struct Case {
    batch: usize,
    input: [usize; 3],
    output: [usize; 3],
    options: ConvOptions,
    pub(super) element: Element,
    pub(super) x: Vec<f32>,
    pub(super) dy: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// Packs one weight as the device's class does.
fn pack(gpu: &Gpu, shape: &ConvShape, weight: &Guarded, packed: &Guarded) {
    let job = PackJob { shape, weight: &weight.view, output: &packed.view };
    run(gpu, &conv_pack(gpu, AdapterClass::for_device(gpu), &[job]).unwrap());
}

/// Sums and sums of magnitudes.
struct Sums(Vec<f64>, Vec<f64>);

impl Case {
    pub(super) fn new(batch: usize, input: [usize; 3], out_channels: usize, options: ConvOptions) -> Self {
        let [oh, ow] = options.output_size([input[0], input[1]]).unwrap();
        let output = [oh, ow, out_channels];
        let taps: usize = options.kernel.iter().product();
        Self {
            batch,
            input,
            output,
            options,
            element: Element::Word,
            x: samples(1, batch * input.iter().product::<usize>(), 1.0),
            dy: samples(2, batch * output.iter().product::<usize>(), 1.0),
            weight: samples(3, out_channels * input[2] / options.groups * taps, 0.5),
            bias: samples(4, out_channels, 1.0),
        }
    }

    /// The same with every operand stored in f16.
    fn in_f16(&self) -> Self {
        let element = Element::Half;
        let [x, dy, weight, bias] = [&self.x, &self.dy, &self.weight, &self.bias].map(|values| stored(element, values));
        Self { element, x, dy, weight, bias, ..*self }
    }

    pub(super) fn shape(&self) -> ConvShape {
        ConvShape::new(self.batch, self.input, self.output[2], &self.options).unwrap()
    }

    /// Every product of the definition: (index in x, index in weight, index in y), images channel-last and unpadded.
    fn terms(&self, mut term: impl FnMut(usize, usize, usize)) {
        let at = |n: usize, [h, w, c]: [usize; 3], [y, x, i]: [usize; 3]| ((n * h + y) * w + x) * c + i;
        for n in 0..self.batch {
            conv_terms(&self.options, self.input, self.output, |input, weight, output| {
                term(at(n, self.input, input), weight, at(n, self.output, output));
            });
        }
    }

    fn expected(&self, pass: ConvPass) -> Sums {
        let (x, dy, weight) = (wide(&self.x), wide(&self.dy), wide(&self.weight));
        let len = match pass {
            ConvPass::Forward => dy.len(),
            ConvPass::DataGradient => x.len(),
            ConvPass::WeightGradient => weight.len(),
        };
        let mut sums = Sums(vec![0.0; len], vec![0.0; len]);
        self.terms(|i, w, o| {
            let (at, product) = match pass {
                ConvPass::Forward => (o, x[i] * weight[w]),
                ConvPass::DataGradient => (i, dy[o] * weight[w]),
                ConvPass::WeightGradient => (w, dy[o] * x[i]),
            };
            sums.0[at] += product;
            sums.1[at] += product.abs();
        });
        sums
    }

    /// What a pass makes, and the sums of its terms' magnitudes.
    pub(super) fn sums(&self, pass: ConvPass) -> (Vec<f64>, Vec<f64>) {
        let Sums(sums, magnitudes) = self.expected(pass);
        (sums, magnitudes)
    }

    /// Runs a pass; the result unpadded.
    pub(super) fn run(
        &self,
        gpu: &Gpu,
        variant: ConvVariant,
        pass: ConvPass,
        epilogue: Epilogue,
        accumulate: bool,
    ) -> Vec<f32> {
        let shape = self.shape();
        let (ic, oc) = (self.input[2], self.output[2]);
        let operand = |values: &[f32]| guarded_as(gpu, values, self.element);
        let (x, dy) = (operand(&padded(&self.x, ic)), operand(&padded(&self.dy, oc)));
        let (weight, bias) = (operand(&self.weight), operand(&self.bias));
        let packed = if self.options.groups == 1 { shape.packed_words() } else { 1 };
        let packed = poisoned_as(gpu, packed, self.element);
        if variant.wants_packed() {
            pack(gpu, &shape, &weight, &packed);
        }
        let weights = if variant.wants_packed() { &packed } else { &weight };
        let (a, b, like, channels) = match pass {
            ConvPass::Forward => (&x, weights, self.dy.len() / oc * padded_channels(oc), oc),
            ConvPass::DataGradient => (&dy, weights, self.x.len() / ic * padded_channels(ic), ic),
            ConvPass::WeightGradient => (&dy, &x, self.weight.len(), 0),
        };
        let result = self.result(pass);
        let c = if accumulate { guarded_as(gpu, &vec![0.25; like], result) } else { poisoned_as(gpu, like, result) };
        let pre = poisoned_as(gpu, like, self.element);
        let saved = operand(&padded(&self.saved(epilogue), ic));
        let (aux, pre) = match epilogue {
            Epilogue::Plain => (None, None),
            Epilogue::BiasActivation { store_pre, .. } => (Some(&bias.view), store_pre.then_some(&pre.view)),
            Epilogue::ActivationGradient(_) => (Some(&saved.view), None),
        };
        let scratch = poisoned(gpu, variant.scratch_words(AdapterClass::for_device(gpu), &shape, pass));
        let operands = ProductOperands { a: &a.view, b: &b.view, aux, c: &c.view, pre, scratch: Some(&scratch.view) };
        run(gpu, &conv(gpu, variant, pass, &shape, epilogue, accumulate, &operands).unwrap());
        scratch.read(gpu);
        let found = c.read(gpu);
        if channels == 0 { found } else { unpadded(&found, channels) }
    }

    /// How the result of a pass is stored.
    fn result(&self, pass: ConvPass) -> Element {
        if pass == ConvPass::WeightGradient { Element::Word } else { self.element }
    }

    /// What forward would have saved of an activation before this convolution.
    fn saved(&self, epilogue: Epilogue) -> Vec<f32> {
        match epilogue {
            Epilogue::ActivationGradient(kind) => wide(&self.x).iter().map(|x| saved(kind, *x)).collect(),
            _ => vec![0.0; self.x.len()],
        }
    }

    pub(super) fn check(&self, gpu: &Gpu, variant: ConvVariant, pass: ConvPass, epilogue: Epilogue, accumulate: bool) {
        let Sums(mut sums, magnitudes) = self.expected(pass);
        let terms = 4.0 + (self.weight.len() * self.batch * self.output[0] * self.output[1]) as f64;
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = match epilogue {
                Epilogue::Plain => *sum,
                Epilogue::BiasActivation { activation, .. } => {
                    activate(activation, *sum + f64::from(self.bias[i % self.output[2]]))
                }
                Epilogue::ActivationGradient(activation) => *sum * derivative(activation, f64::from(self.x[i])),
            };
            *sum += if accumulate { 0.25 } else { 0.0 };
        }
        let mut bounds: Vec<_> = magnitudes.iter().map(|m| ROUNDOFF * terms.min(400.0) * (m + 4.0)).collect();
        if self.result(pass) == Element::Half {
            // A rounding of the result, and of what was saved, whose derivatives bend by less than 3.
            let saved = if matches!(epilogue, Epilogue::ActivationGradient(_)) { 3.0 } else { 0.0 };
            let added = |(sum, m): (&f64, &f64)| rounding(Element::Half, *sum) + saved * rounding(Element::Half, *m);
            bounds.iter_mut().zip(sums.iter().zip(&magnitudes)).for_each(|(bound, result)| *bound += added(result));
        }
        let found = self.run(gpu, variant, pass, epilogue, accumulate);
        let name = format!(
            "{variant:?} {pass:?} {epilogue:?} {accumulate} {:?} {:?} -> {:?} {:?}",
            self.element, self.input, self.output, self.options
        );
        assert_within(&name, &found, &sums, &bounds);
    }
}

/// A case as f32, and as f16 where the device has it.
pub(super) fn cases(gpu: &Gpu, case: Case) -> Vec<Case> {
    let half = gpu.has_f16().then(|| case.in_f16());
    [case].into_iter().chain(half).collect()
}

pub(super) const PASSES: [ConvPass; 3] = [ConvPass::Forward, ConvPass::DataGradient, ConvPass::WeightGradient];

/// Options drawn from a seed, valid for an image of `size`.
fn random_options(seed: u64, size: [usize; 2], groups: usize) -> ConvOptions {
    let draw = |i: u64, below: usize| (hash(seed, i) % below as u64) as usize;
    let pair = |i: u64, below: usize| [draw(i, below), draw(i + 1, below)];
    let options = ConvOptions {
        kernel: pair(0, 4).map(|side| side + 1),
        stride: pair(2, 3).map(|side| side + 1),
        padding: pair(4, 3),
        dilation: pair(6, 2).map(|side| side + 1),
        groups,
    };
    if options.output_size(size).is_some() {
        options
    } else {
        ConvOptions { dilation: [1, 1], kernel: [1, 1], ..options }
    }
}

/// Whether it is the square tiles' kernel with another constant: tried where tiles have edges.
pub(super) fn is_rectangular(variant: ConvVariant) -> bool {
    matches!(variant, ConvVariant::Block(BlockTile::TALL | BlockTile::WIDE))
}

/// Whether it is tried at the `turn`-th random geometry: small tiles, of which there are several in no image, are enough, and tiles
/// in registers of one and of two blocks of columns take turns.
fn is_tried(variant: ConvVariant, turn: u64) -> bool {
    match variant {
        ConvVariant::Block(tile) => tile == BlockTile::SMALL,
        ConvVariant::Software => turn.is_multiple_of(2),
        ConvVariant::SoftwareWide => !turn.is_multiple_of(2),
        _ => true,
    }
}

#[test]
fn random_geometries_agree_with_the_definition() {
    let gpu = device();
    // A software adapter compiles a kernel for each of them and each variant.
    let count = if AdapterClass::for_device(gpu).is_software() { 16u64 } else { 48 };
    for seed in 0..count {
        let draw = |i: u64, below: u64| (hash(seed, 100 + i) % below) as usize;
        let groups = if seed % 4 == 3 { 1 + draw(0, 3) } else { 1 };
        let input = [1 + draw(1, 9), 1 + draw(2, 9), groups * (1 + draw(3, 7))];
        let outputs = groups * (1 + draw(4, 9));
        let case = Case::new(1 + draw(5, 3), input, outputs, random_options(seed, [input[0], input[1]], groups));
        // A kernel is compiled for each element and each way to end: a third in f16, and sums that are added to elsewhere.
        let case = if seed % 3 == 2 { cases(gpu, case).pop().unwrap() } else { case };
        for pass in PASSES {
            let variants = ConvVariant::available(gpu, case.element, &case.shape(), pass);
            for variant in variants.into_iter().filter(|variant| is_tried(*variant, seed)) {
                case.check(gpu, variant, pass, Epilogue::Plain, false);
            }
        }
    }
}

#[test]
fn tiles_and_their_edges_agree_with_the_definition() {
    let gpu = device();
    let three = ConvOptions::square(3).padding(1);
    let all = [
        Case::new(2, [8, 8, 32], 64, three),
        Case::new(3, [7, 9, 33], 65, three.stride(2)),
        Case::new(2, [9, 8, 12], 64, three.stride(2)), // tiles of depths that reach no pixel of a phase
        Case::new(1, [33, 17, 3], 36, three),
        Case::new(4, [33, 17, 3], 36, three), // pixels enough to be summed in parts
        Case::new(2, [8, 8, 40], 70, ConvOptions::square(1).stride(2)),
        Case::new(2, [14, 14, 6], 16, ConvOptions::square(5)),
        Case::new(2, [6, 6, 12], 12, ConvOptions { groups: 12, ..three }),
    ];
    // Every other one in f16 where the device has it: a kernel is compiled for each.
    let each = all.into_iter().enumerate().filter_map(|(i, case)| {
        let mut cases = cases(gpu, case);
        if i % 2 == 1 { cases.pop() } else { Some(cases.remove(0)) }
    });
    for case in each {
        for pass in PASSES {
            let variants = ConvVariant::available(gpu, case.element, &case.shape(), pass);
            // Rectangular tiles where there are rows and columns past the first one.
            let edges = case.output[2] > 64;
            for variant in variants.into_iter().filter(|variant| edges || !is_rectangular(*variant)) {
                case.check(gpu, variant, pass, Epilogue::Plain, false);
            }
        }
    }
}

/// As of matrix products in tests/matmul.rs.
#[test]
fn tiles_of_either_depth_give_the_same_bits() {
    let gpu = device();
    let case = Case::new(2, [9, 8, 12], 140, ConvOptions::square(3).padding(1).stride(2));
    let shape = case.shape();
    let (x, dy) = (guarded(gpu, &padded(&case.x, 12)), guarded(gpu, &padded(&case.dy, 140)));
    let (weight, packed) = (guarded(gpu, &case.weight), poisoned(gpu, shape.packed_words()));
    pack(gpu, &shape, &weight, &packed);
    let unused = [0, 1].map(|slot| gpu.unused(slot).unwrap());
    // One row tile each but the weight gradient's; column tiles of 128; four phases of a data gradient.
    let passes = [
        (&x, &packed, case.dy.len(), Grid([1, 2, 1])),
        (&dy, &packed, case.x.len(), Grid([1, 1, 4])),
        (&dy, &x, case.weight.len(), Grid([2, 1, 1])),
    ];
    for (pass, (a, b, like, grid)) in passes.into_iter().enumerate() {
        // Weight gradients are stored as elements.
        let number = usize::from(pass < 2);
        let spec = all_specs().into_iter().filter(|spec| spec.entry == "conv_block").nth(number).unwrap();
        assert_eq!(spec.source.contains("const STORE_WHOLE: bool = true;"), pass < 2);
        let [shallow, deep] = [8.0, 16.0].map(|depth| {
            let c = poisoned(gpu, like);
            let halves = ["BLOCK_ROW_HALVES", "BLOCK_COLUMN_HALVES"].map(|name| (name, 2.0));
            let constants = [halves[0], halves[1], ("BLOCK_DEPTH", depth), ("PASS", pass as f64)];
            let views = [&a.view, &b.view, &unused[0], &c.view, &unused[1]];
            run(gpu, &[gpu.dispatch(spec, &constants, grid, &views, bytemuck::bytes_of(&shape)).unwrap()]);
            bits(&c.read(gpu))
        });
        assert!(shallow.iter().all(|word| f32::from_bits(*word).is_finite()));
        assert_eq!(shallow, deep, "pass {pass}");
    }
}

#[test]
fn one_by_one_convolutions_are_matrix_products() {
    let gpu = device();
    let one = ConvOptions::square(1);
    for case in cases(gpu, Case::new(3, [5, 7, 12], 8, one)) {
        let half = case.element == Element::Half;
        let operand = |values: &[f32]| guarded_as(gpu, values, case.element);
        let (x, dy, weight) = (operand(&case.x), operand(&case.dy), operand(&case.weight));
        for pass in PASSES {
            let (a, b) = match pass {
                ConvPass::Forward => (&x, &weight),
                ConvPass::DataGradient => (&dy, &weight),
                ConvPass::WeightGradient => (&dy, &x),
            };
            let (layout, [m, n, k]) = case.shape().as_matmul(pass).unwrap();
            let shape = MatmulShape::new(m, n, k).unwrap();
            let Sums(sums, magnitudes) = case.expected(pass);
            let result = case.result(pass);
            // as in matmul.rs
            let error = |(sum, m): (&f64, &f64)| (k + 1) as f64 * ROUNDOFF * m + rounding(result, *sum);
            let bounds: Vec<f64> = sums.iter().zip(&magnitudes).map(error).collect();
            // That a variant computes in f16 what it does in f32 is shown of products.
            for variant in
                MatmulVariant::available(gpu, case.element).into_iter().take(if half { 1 } else { usize::MAX })
            {
                let (c, scratch) = (poisoned_as(gpu, m * n, result), poisoned(gpu, variant.scratch_words(shape)));
                let (a, b, scratch) = (&a.view, &b.view, Some(&scratch.view));
                let operands = ProductOperands { a, b, aux: None, c: &c.view, pre: None, scratch };
                run(gpu, &matmul(gpu, variant, layout, shape, Epilogue::Plain, false, &operands).unwrap());
                assert_within(&format!("{variant:?} {pass:?}"), &c.read(gpu), &sums, &bounds);
            }
        }
    }
    let others = [
        (6, 8, one),
        (8, 6, one),
        (8, 8, one.stride(2)),
        (8, 8, one.padding(1)),
        (8, 8, ConvOptions { groups: 2, ..one }),
        (8, 8, ConvOptions::square(2)),
    ];
    for (inputs, outputs, options) in others {
        assert!(Case::new(1, [5, 5, inputs], outputs, options).shape().as_matmul(ConvPass::Forward).is_none());
    }
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let refused = |input, outputs, options| {
        let error = ConvShape::new(2, input, outputs, &options).unwrap_err();
        assert!(matches!(error, GpuError::Shape { .. }), "{error}");
        error.to_string()
    };
    let three = ConvOptions::square(3);
    assert!(refused([2, 8, 4], 4, three).contains("does not fit"));
    assert!(refused([8, 8, 0], 4, three).contains("empty"));
    assert!(refused([8, 8, 6], 4, ConvOptions { groups: 3, ..three }).contains("divide"));
    assert!(refused([8, 8, 6], 6, ConvOptions { stride: [0, 1], ..three }).contains("empty"));
}
