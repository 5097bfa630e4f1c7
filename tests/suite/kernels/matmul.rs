//! Matrix products: every variant, layout and epilogue against f64 on awkward shapes.

use crate::common::{
    ROUNDOFF, assert_within, awkward, bits, device, elements, guarded_as, poisoned, poisoned_as,
    reference::{activate, derivative, saved},
    rounding, run, samples, stored,
};
use jostle::{
    all_specs,
    gpu::{Element, Gpu, GpuError, Grid},
    kernels::{
        Activation, AdapterClass, BlockTile, Epilogue, MatmulLayout, MatmulShape, MatmulVariant, ProductOperands,
        matmul, matmul_variant,
    },
};

/// One; primes; whole vec4s of odd numbers; a tile; one past and one short of tiles; long k; an odd one past two tiles; vec4s
/// past two and one of the largest tiles; many tiles in a row; k alone.
const SHAPES: [[usize; 3]; 10] = [
    [1, 1, 1],
    [3, 7, 5],
    [17, 32, 13],
    [64, 64, 16],
    [65, 63, 17],
    [128, 10, 516],
    [129, 257, 65],
    [260, 132, 24],
    [5, 64 * 65 + 1, 3],
    [1, 2, 1021],
];

/// One of them whose sums are long enough to be taken in parts, with an epilogue in the kernel that adds these up.
const IN_PARTS: [usize; 3] = [128, 10, 516];

/// The shape at which every epilogue is tried: its rows are no whole vec4s.
const ALL_EPILOGUES: [usize; 3] = [65, 63, 17];

/// Those at which rectangular tiles are tried, which are the square ones' kernel with another constant: rows and columns past the
/// first tile, a bias and sums that are added to.
const RECTANGULAR: [[usize; 3]; 2] = [[129, 257, 65], [260, 132, 24]];

/// Those at which variants are tried in f16 too, whose kernels differ in how they read and write elements alone: everything aligned,
/// nothing, a sum in parts, more than a tile; by software adapters, which compile a kernel for each.
const IN_HALF: [[usize; 3]; 4] = [[64, 64, 16], ALL_EPILOGUES, IN_PARTS, RECTANGULAR[1]];

/// Whether a variant is tried at a shape: the largest tiles, which are the small ones' kernel too, where there are rows or columns past the
/// small one's.
fn is_tried(variant: MatmulVariant, shape: [usize; 3], element: Element) -> bool {
    let is_software = AdapterClass::for_device(device()).is_software();
    match variant {
        _ if is_software && element == Element::Half && !IN_HALF.contains(&shape) => false,
        MatmulVariant::Block(BlockTile::LARGE) | MatmulVariant::Split(BlockTile::LARGE) => {
            shape[..2].iter().any(|side| *side > 64)
        }
        MatmulVariant::Block(BlockTile::TALL | BlockTile::WIDE) if element == Element::Half => {
            shape == RECTANGULAR[usize::from(is_software)]
        }
        MatmulVariant::Block(BlockTile::TALL | BlockTile::WIDE) => RECTANGULAR.contains(&shape),
        MatmulVariant::Split(BlockTile::TALL | BlockTile::WIDE) => shape == IN_PARTS && element == Element::Word,
        _ => true,
    }
}

/// What a variant is tried with at a shape. A software adapter compiles a kernel for each, and no epilogue changes how operands
/// are read or how many there are of a tile: so a shape has the epilogue of its number, which gives rows that are whole vec4s
/// and rows that are not each of them, and one variant of each kernel has every activation, in the forward layout.
fn epilogues(
    variant: MatmulVariant,
    layout: MatmulLayout,
    shape: [usize; 3],
    element: Element,
) -> Vec<(Epilogue, bool)> {
    let bias = |activation, store_pre| Epilogue::BiasActivation { activation, store_pre };
    let by_number = [
        (Epilogue::Plain, false),
        (bias(Activation::Gelu, true), true),
        (Epilogue::ActivationGradient(Activation::Tanh), true),
    ];
    let number = SHAPES.iter().position(|known| *known == shape).unwrap_or(0);
    let mut all = vec![by_number[number % by_number.len()]];
    let every = match variant {
        MatmulVariant::Block(BlockTile::SMALL) | MatmulVariant::Software | MatmulVariant::Coop(_) => {
            shape == ALL_EPILOGUES
        }
        MatmulVariant::Split(BlockTile::SMALL) => shape == IN_PARTS,
        MatmulVariant::Block(_) | MatmulVariant::Split(_) | MatmulVariant::SoftwareWide => false,
    };
    if layout == MatmulLayout::Forward && every && element == Element::Word {
        all.extend(by_number);
        all.extend([(Epilogue::Plain, true), (bias(Activation::Identity, true), false)]);
        for activation in Activation::ALL {
            all.push((bias(activation, activation == Activation::Gelu), false));
            all.push((Epilogue::ActivationGradient(activation), false));
        }
    }
    all
}

/// Sum and sum of magnitudes of each element's terms.
pub(super) struct Product {
    a: Vec<f32>,
    b: Vec<f32>,
    sums: Vec<f64>,
    magnitudes: Vec<f64>,
}

pub(super) fn product(layout: MatmulLayout, [m, n, k]: [usize; 3], element: Element) -> Product {
    // About 1/sqrt(k) keeps the sums where activations bend; the odd elements stand far out.
    let (a, b) = (awkward(1, m * k, 1.0), awkward(2, k * n, 1.5 / (k as f32).sqrt()));
    let (a, b) = (stored(element, &a), stored(element, &b));
    let (mut sums, mut magnitudes) = (vec![0.0; m * n], vec![0.0; m * n]);
    for row in 0..m {
        for column in 0..n {
            for depth in 0..k {
                let left = if layout == MatmulLayout::WeightGradient { depth * m + row } else { row * k + depth };
                let right = if layout == MatmulLayout::Forward { column * k + depth } else { depth * n + column };
                let term = f64::from(a[left]) * f64::from(b[right]);
                sums[row * n + column] += term;
                magnitudes[row * n + column] += term.abs();
            }
        }
    }
    Product { a, b, sums, magnitudes }
}

/// Expected values with the bound on each one's error.
struct Expected {
    aux: Option<Vec<f32>>,
    values: Vec<f64>,
    bounds: Vec<f64>,
    pre: Option<(Vec<f64>, Vec<f64>)>,
}

/// `element` is how operands are stored, the result among them unless it is a gradient of the weights.
fn expected(
    product: &Product,
    epilogue: Epilogue,
    [m, n, k]: [usize; 3],
    element: Element,
    start: Option<&[f32]>,
) -> Expected {
    // A sum of k rounded products in any order is off by at most k roundoffs of the sum of magnitudes (Higham,
    // Accuracy and Stability, 3.1); one more for the second-order terms.
    let sum_bound = |i: usize| (k + 1) as f64 * ROUNDOFF * product.magnitudes[i];
    let mut e = Expected { aux: None, values: product.sums.clone(), bounds: Vec::new(), pre: None };
    match epilogue {
        Epilogue::Plain => e.bounds = (0..m * n).map(sum_bound).collect(),
        Epilogue::BiasActivation { activation, store_pre } => {
            let bias = stored(element, &samples(3, n, 1.0));
            let pre: Vec<f64> = (0..m * n).map(|i| product.sums[i] + f64::from(bias[i % n])).collect();
            // one rounding more for the bias
            let pre_bounds: Vec<f64> = (0..m * n).map(|i| sum_bound(i) + ROUNDOFF * pre[i].abs()).collect();
            e.values = pre.iter().map(|x| activate(activation, *x)).collect();
            // All activations have slopes below 1.13 (GELU); the function itself is good to 4 ulp of 1, or of x for
            // GELU, whose 1 + erf cancels: 8 roundoffs.
            e.bounds = pre.iter().zip(&pre_bounds).map(|(x, b)| 1.13 * b + 8.0 * ROUNDOFF * x.abs().max(1.0)).collect();
            e.pre = store_pre.then_some((pre, pre_bounds));
            e.aux = Some(bias);
        }
        Epilogue::ActivationGradient(activation) => {
            let arguments = samples(4, m * n, 3.0);
            let slopes: Vec<f64> = arguments.iter().map(|x| derivative(activation, f64::from(*x))).collect();
            e.values = slopes.iter().zip(&product.sums).map(|(slope, sum)| slope * sum).collect();
            // slope times the sum's error, plus the slope's own: rounding of what was saved (twice over in 1 - s^2),
            // of the function and of the product, together below 8 roundoffs of 1 + |x| <= 4.
            let slope_bound = |i: usize| 32.0 * rounding(element, 1.0) * product.sums[i].abs();
            e.bounds = (0..m * n).map(|i| 1.13 * sum_bound(i) + slope_bound(i)).collect();
            e.aux = Some(arguments.iter().map(|x| saved(activation, f64::from(*x))).collect());
        }
    }
    if let Some(start) = start {
        for (i, value) in e.values.iter_mut().enumerate() {
            *value += f64::from(start[i]);
            e.bounds[i] += 2.0 * ROUNDOFF * value.abs(); // the addition's rounding
        }
    }
    e
}

pub(super) fn check(
    gpu: &Gpu,
    variant: MatmulVariant,
    layout: MatmulLayout,
    shape: [usize; 3],
    element: Element,
    product: &Product,
) {
    let [m, n, k] = shape;
    let (a, b) = (guarded_as(gpu, &product.a, element), guarded_as(gpu, &product.b, element));
    let result = if layout == MatmulLayout::WeightGradient { Element::Word } else { element };
    let start = stored(result, &samples(5, m * n, 2.0));
    for (epilogue, accumulate) in epilogues(variant, layout, shape, element) {
        let mut expected = expected(product, epilogue, shape, element, accumulate.then_some(&start));
        if result == Element::Half {
            expected.bounds.iter_mut().zip(&expected.values).for_each(|(b, value)| *b += rounding(result, *value));
        }
        if let (Element::Half, Some((values, bounds))) = (element, &mut expected.pre) {
            bounds.iter_mut().zip(values).for_each(|(b, value)| *b += rounding(element, *value));
        }
        let c = if accumulate { guarded_as(gpu, &start, result) } else { poisoned_as(gpu, m * n, result) };
        let aux = expected.aux.as_ref().map(|aux| guarded_as(gpu, aux, element));
        let pre = expected.pre.as_ref().map(|_| poisoned_as(gpu, m * n, element));
        let size = MatmulShape::new(m, n, k).unwrap();
        let scratch = poisoned(gpu, variant.scratch_words(size));
        let operands = ProductOperands {
            a: &a.view,
            b: &b.view,
            aux: aux.as_ref().map(|aux| &aux.view),
            c: &c.view,
            pre: pre.as_ref().map(|pre| &pre.view),
            scratch: Some(&scratch.view),
        };
        run(gpu, &matmul(gpu, variant, layout, size, epilogue, accumulate, &operands).unwrap());
        scratch.read(gpu);
        let name = format!("{variant:?} {layout:?} {shape:?} {element:?} {epilogue:?} accumulate {accumulate}");
        assert_within(&name, &c.read(gpu), &expected.values, &expected.bounds);
        if let (Some(pre), Some((values, bounds))) = (pre, &expected.pre) {
            assert_within(&format!("{name}, pre"), &pre.read(gpu), values, bounds);
        }
    }
}

fn check_layout(layout: MatmulLayout) {
    let gpu = device();
    for (shape, element) in SHAPES.into_iter().flat_map(|shape| elements(gpu).map(move |element| (shape, element))) {
        let product = product(layout, shape, element);
        let tried = |variant: &MatmulVariant| is_tried(*variant, shape, element);
        for variant in MatmulVariant::available(gpu, element).into_iter().filter(tried) {
            check(gpu, variant, layout, shape, element, &product);
        }
    }
}

/// What the adapter's table takes, at one small shape: a first look at an adapter, in a second.
#[test]
fn the_variant_taken_for_a_small_product_matches_f64() {
    let (gpu, shape, element) = (device(), [17, 31, 13], Element::Word);
    let [m, n, k] = shape;
    let variant = matmul_variant(gpu, element, MatmulShape::new(m, n, k).unwrap());
    for layout in [MatmulLayout::Forward, MatmulLayout::DataGradient, MatmulLayout::WeightGradient] {
        check(gpu, variant, layout, shape, element, &product(layout, shape, element));
    }
}

/// llvmpipe ends an invocation's loops after 65,535 rounds: the variant that is taken has to get by with fewer.
#[test]
fn the_variant_taken_for_a_long_sum_leaves_no_term_out() {
    let (gpu, element) = (device(), Element::Word);
    let [m, n, k] = [8, 8, 300_000];
    let shape = MatmulShape::new(m, n, k).unwrap();
    let variant = matmul_variant(gpu, element, shape);
    let [a, b] = [m * k, k * n].map(|count| guarded_as(gpu, &vec![1.0; count], element));
    let (c, scratch) = (poisoned(gpu, m * n), poisoned(gpu, variant.scratch_words(shape)));
    let views = (&a.view, &b.view, &c.view, &scratch.view);
    let operands = ProductOperands { a: views.0, b: views.1, aux: None, c: views.2, pre: None, scratch: Some(views.3) };
    let layout = MatmulLayout::WeightGradient;
    run(gpu, &matmul(gpu, variant, layout, shape, Epilogue::Plain, false, &operands).unwrap());
    // Whole numbers below 2^24, whatever the order.
    assert_eq!(c.read(gpu), vec![300_000.0; m * n], "{variant:?}");
}

#[test]
fn forward_matches_f64() {
    check_layout(MatmulLayout::Forward);
}

#[test]
fn data_gradient_matches_f64() {
    check_layout(MatmulLayout::DataGradient);
}

#[test]
fn weight_gradient_matches_f64() {
    check_layout(MatmulLayout::WeightGradient);
}

/// Tiles that want more workgroup memory than is granted are 8 deep, not 16: the same sums in the same order.
#[test]
fn tiles_of_either_depth_give_the_same_bits() {
    let gpu = device();
    let [m, n, k] = [132, 260, 44];
    let (a, b) = (guarded_as(gpu, &awkward(6, m * k, 1.0), Element::Word), samples(7, k * n, 1.0));
    let b = guarded_as(gpu, &b, Element::Word);
    let unused = [0, 1].map(|slot| gpu.unused(slot).unwrap());
    let shape = MatmulShape::new(m, n, k).unwrap();
    for spec in all_specs().into_iter().filter(|spec| spec.entry == "matmul_block") {
        for (transposed, [rows, columns]) in [
            ([0.0, 1.0], [2, 2]),
            ([0.0, 0.0], [2, 2]),
            ([1.0, 0.0], [2, 2]),
            ([0.0, 1.0], [2, 1]),
            ([1.0, 0.0], [1, 2]),
        ] {
            let grid = Grid([n.div_ceil(64 * columns) as u32, m.div_ceil(64 * rows) as u32, 1]);
            let [shallow, deep] = [8.0, 16.0].map(|depth| {
                let c = poisoned(gpu, m * n);
                let constants = [
                    ("BLOCK_ROW_HALVES", rows as f64),
                    ("BLOCK_COLUMN_HALVES", columns as f64),
                    ("BLOCK_DEPTH", depth),
                    ("A_TRANSPOSED", transposed[0]),
                    ("B_TRANSPOSED", transposed[1]),
                ];
                let views = [&a.view, &b.view, &unused[0], &c.view, &unused[1]];
                run(gpu, &[gpu.dispatch(spec, &constants, grid, &views, bytemuck::bytes_of(&shape)).unwrap()]);
                bits(&c.read(gpu))
            });
            assert!(shallow.iter().all(|word| f32::from_bits(*word).is_finite()));
            assert_eq!(shallow, deep, "{transposed:?}, halves {rows} x {columns}");
        }
    }
}

#[test]
fn wrong_lengths_name_the_operand() {
    let gpu = device();
    let right = [15usize, 35, 7, 21, 21]; // a, b, aux, c, pre of shape 3, 7, 5
    let epilogue = Epilogue::BiasActivation { activation: Activation::Gelu, store_pre: true };
    for variant in MatmulVariant::available(gpu, Element::Word) {
        for (wrong, name) in ["a", "b", "aux", "c", "pre"].into_iter().enumerate() {
            for off in [-1, 1] {
                let mut lengths = right;
                lengths[wrong] = lengths[wrong].checked_add_signed(off).unwrap();
                let buffers = lengths.map(|length| poisoned(gpu, length));
                let [a, b, aux, c, pre] = buffers.each_ref().map(|guarded| &guarded.view);
                let operands = ProductOperands { a, b, aux: Some(aux), c, pre: Some(pre), scratch: None };
                let shape = MatmulShape::new(3, 7, 5).unwrap();
                let found = matmul(gpu, variant, MatmulLayout::Forward, shape, epilogue, false, &operands);
                match found.unwrap_err() {
                    GpuError::Length { argument, expected, found, .. } => {
                        assert_eq!((argument, expected, found), (name, right[wrong], lengths[wrong]), "{variant:?}");
                    }
                    other => panic!("{variant:?}, wrong {name}: {other}"),
                }
            }
        }
    }
}

#[test]
fn missing_operands_are_named() {
    let gpu = device();
    let buffers = [15, 35, 21].map(|length| poisoned(gpu, length));
    let [a, b, c] = buffers.each_ref().map(|guarded| &guarded.view);
    let operands = ProductOperands { a, b, aux: None, c, pre: None, scratch: None };
    let shape = MatmulShape::new(3, 7, 5).unwrap();
    let epilogue = Epilogue::ActivationGradient(Activation::Tanh);
    for variant in MatmulVariant::available(gpu, Element::Word) {
        let found = matmul(gpu, variant, MatmulLayout::DataGradient, shape, epilogue, false, &operands);
        assert!(matches!(found, Err(GpuError::Length { argument: "aux", expected: 21, found: 0, .. })));
    }
}

#[test]
fn a_split_product_names_its_scratch() {
    let gpu = device();
    let [a, b, c] = [3 * 500, 5 * 500, 15].map(|length| poisoned(gpu, length));
    let shape = MatmulShape::new(3, 5, 500).unwrap();
    let variant = MatmulVariant::Split(BlockTile::SMALL);
    let words = variant.scratch_words(shape);
    assert!(words >= 2 * 15 && words.is_multiple_of(15), "{words}");
    let short = poisoned(gpu, words - 1);
    for (scratch, length) in [(None, None), (Some(&short.view), Some(words - 1))] {
        let operands = ProductOperands { a: &a.view, b: &b.view, aux: None, c: &c.view, pre: None, scratch };
        let product = matmul(gpu, variant, MatmulLayout::Forward, shape, Epilogue::Plain, false, &operands);
        match product.unwrap_err() {
            GpuError::Length { argument: "scratch", expected, found, .. } => {
                assert_eq!(expected, words);
                assert!(length.is_none_or(|length| length == found));
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn empty_and_huge_shapes_are_refused() {
    for [m, n, k] in [[0, 1, 1], [1, 0, 1], [1, 1, 0], [1 << 17, 1, 1 << 17], [usize::MAX, 2, 1]] {
        assert!(matches!(MatmulShape::new(m, n, k), Err(GpuError::Shape { .. })), "{m} {n} {k}");
    }
}
