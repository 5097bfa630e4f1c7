//! Matrices of an update made nearly orthogonal: the iteration of Newton and Schulz, by the products of [`matmul`].

use crate::gpu::{Buffer, Dispatch, Element, Gpu, GpuError, Launch, Recorder, View, WORD_BYTES, Work};

use super::{
    AdapterClass, Combine, Ending, Epilogue, MatmulLayout, MatmulProblem, MatmulShape, MatmulVariant, ProductOperands,
    Target, matmul,
    unit_norm::{unit_norm, unit_norm_launches, unit_norm_words},
};

/// a, b and c of the polynomial a x + b x^3 + c x^5 of singular values, `torch.optim.Muon`'s: chosen for its slope at 0, not to
/// converge. Five times it takes what is in [0.01, 1] to [0.68, 1.14].
const COEFFICIENTS: [f64; 3] = [3.4445, -4.775, 2.0315];

/// How often it is applied; odd, so that the last one writes the matrix itself.
const ITERATIONS: usize = 5;
const _: () = assert!(ITERATIONS % 2 == 1, "the iterates alternate between a buffer and the matrix");

/// What the norm is at least.
const LEAST_NORM: f32 = 1e-7;

/// A matrix of an update.
#[derive(Clone, Debug)]
pub struct UpdateMatrix {
    /// f32, rows after rows, at the start of a tensor.
    pub view: View,
    /// Rows and columns.
    pub sides: [usize; 2],
    /// What the orthogonal matrix is multiplied by.
    pub scale: f64,
}

/// A product, and the variant that computes it.
#[derive(Clone, Copy, Debug)]
struct Product {
    variant: MatmulVariant,
    problem: MatmulProblem,
}

impl Product {
    fn new(class: AdapterClass, layout: MatmulLayout, [m, n, k]: [usize; 3]) -> Result<Self, GpuError> {
        let shape = MatmulShape::new(m, n, k)?;
        Ok(Self { variant: class.matmul_variant(Element::Word, shape), problem: MatmulProblem { layout, shape } })
    }

    fn scratch_words(&self) -> usize {
        self.variant.scratch_words(self.problem.shape)
    }

    fn launches(&self, target: &Target) -> Result<Vec<Launch>, GpuError> {
        let shape = self.problem.shape;
        let launches = self.variant.launches(target, self.problem, Ending::PLAIN, Element::Word)?;
        let [m, n, k] = [shape.m, shape.n, shape.k].map(u64::from);
        let whole = Work { flops: shape.flops(), bytes: (m * k + k * n + m * n) * WORD_BYTES };
        let is_whole = launches.len() == 1; // parts say themselves what they do
        Ok(launches.into_iter().map(|launch| if is_whole { launch.doing(whole) } else { launch }).collect())
    }

    fn bind(&self, gpu: &Gpu, [a, b, c]: [&View; 3], partials: &Buffer) -> Result<Vec<Dispatch>, GpuError> {
        let scratch = partials.part(0, self.scratch_words())?;
        let operands = ProductOperands { a, b, aux: None, c, pre: None, scratch: Some(&scratch) };
        let MatmulProblem { layout, shape } = self.problem;
        matmul(gpu, self.variant, layout, shape, Epilogue::Plain, false, &operands)
    }
}

/// How a matrix X is iterated: by the Gram matrix of its smaller side, so that nothing is transposed.
#[derive(Clone, Copy, Debug)]
struct Iteration {
    /// Elements of X, and of the Gram matrix.
    len: usize,
    gram_len: usize,
    /// Whether the Gram matrix is on the left of X: there are no more rows than columns.
    is_left: bool,
    /// A = X X' or X' X
    gram: Product,
    /// A A
    square: Product,
    /// P X or X P, for P = b A + c A A
    apply: Product,
}

impl Iteration {
    fn new(class: AdapterClass, [rows, columns]: [usize; 2]) -> Result<Self, GpuError> {
        let (is_left, side) = (rows <= columns, rows.min(columns));
        let layout = if is_left { MatmulLayout::Forward } else { MatmulLayout::WeightGradient };
        let gram = Product::new(class, layout, [side, side, rows.max(columns)])?;
        let square = Product::new(class, MatmulLayout::DataGradient, [side; 3])?;
        let apply = Product::new(class, MatmulLayout::DataGradient, [rows, columns, side])?;
        Ok(Self { len: rows * columns, gram_len: side * side, is_left, gram, square, apply })
    }

    /// Plans `into = scale (a from + b A from + c A A from)`.
    fn bind(
        &self,
        gpu: &Gpu,
        scratch: &Scratch,
        [from, into]: [&View; 2],
        scale: f64,
    ) -> Result<Vec<Dispatch>, GpuError> {
        let [a, b, c] = COEFFICIENTS;
        let [gram, polynomial] = [&scratch.gram, &scratch.polynomial].map(|buffer| buffer.part(0, self.gram_len));
        let (gram, polynomial) = (&gram?, &polynomial?);
        let factors = if self.is_left { [polynomial, from] } else { [from, polynomial] };
        let product = |product: &Product, views| product.bind(gpu, views, &scratch.partials);
        let steps = [
            product(&self.gram, [from, from, gram])?,
            product(&self.square, [gram, gram, polynomial])?,
            Combine::tensors(gpu, (polynomial, c), (gram, b))?.0,
            product(&self.apply, [factors[0], factors[1], into])?,
            Combine::tensors(gpu, (into, scale), (from, scale * a))?.0,
        ];
        Ok(steps.concat())
    }

    fn launches(&self, target: &Target) -> Result<Vec<Launch>, GpuError> {
        let steps = [
            self.gram.launches(target)?,
            self.square.launches(target)?,
            Combine::launches(target, self.gram_len)?,
            self.apply.launches(target)?,
            Combine::launches(target, self.len)?,
        ];
        Ok(steps.concat())
    }
}

/// Words of each buffer of [`Scratch`], and of the tables of parts.
#[derive(Clone, Copy, Debug, Default)]
struct ScratchWords {
    iterate: usize,
    gram: usize,
    partials: usize,
    norms: usize,
    tables: usize,
}

impl ScratchWords {
    /// What the matrices want together: they take turns, so that the largest decides, but for the tables.
    fn new(iterations: &[Iteration]) -> Self {
        iterations.iter().fold(Self::default(), |words, iteration| {
            let Iteration { len, gram_len, gram, square, apply, .. } = iteration;
            let partials = [gram, square, apply].map(Product::scratch_words).into_iter().max().unwrap_or_default();
            let [norms, table] = unit_norm_words(*len);
            Self {
                iterate: words.iterate.max(*len),
                gram: words.gram.max(*gram_len),
                partials: words.partials.max(partials),
                norms: words.norms.max(norms),
                tables: words.tables + table,
            }
        })
    }

    fn total(self) -> usize {
        self.iterate + 2 * self.gram + self.partials + self.norms + self.tables
    }
}

/// What the matrices of an update are iterated through, one after the other.
#[derive(Debug)]
struct Scratch {
    /// Every other iterate.
    iterate: Buffer,
    gram: Buffer,
    polynomial: Buffer,
    /// Parts of a product's sums.
    partials: Buffer,
    /// Those of the parts of a matrix.
    norms: Buffer,
}

impl Scratch {
    fn new(gpu: &Gpu, words: ScratchWords) -> Result<Self, GpuError> {
        Ok(Self {
            iterate: gpu.buffer("iterate", words.iterate)?,
            gram: gpu.buffer("Gram matrix", words.gram)?,
            polynomial: gpu.buffer("polynomial of the Gram matrix", words.gram)?,
            partials: gpu.buffer("scratch", words.partials)?,
            norms: gpu.buffer("norms of parts", words.norms)?,
        })
    }
}

fn iterations(class: AdapterClass, sides: impl Iterator<Item = [usize; 2]>) -> Result<Vec<Iteration>, GpuError> {
    sides.map(|sides| Iteration::new(class, sides)).collect()
}

/// The planned orthogonalisation of an update's matrices, each in place.
///
/// Of a matrix G = U S V' it makes scale U p(p(p(p(p(S / max(norm, 1e-7)))))) V' with p(x) = 3.4445 x - 4.775 x^3 + 2.0315 x^5 and
/// the Frobenius norm of G, all in f32. 0 stays 0. Where the norm is not finite, because an element is NaN or infinite or its
/// square overflows, every element becomes NaN: what is broken is not hidden, as by PyTorch, whose quotient by an infinite norm
/// is 0.
///
/// Source: `torch.optim.Muon` (whose products are of bfloat16); K. Jordan et al., *Muon: An optimizer for hidden layers in neural
/// networks*, 2024.
#[derive(Debug)]
pub struct Orthogonalise(Vec<Dispatch>);

impl Orthogonalise {
    /// Plans it for matrices that do not overlap, by the variants of `class`.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for an empty matrix, [`GpuError::Length`] for a view that is not as long as its sides say,
    /// [`GpuError::TooLarge`] past the adapter's limits, [`GpuError::Refused`] where the device computes wrong by the class's
    /// cooperative matrices ([`with_variants`](super::with_variants) plans again without), and as [`Gpu::buffer`].
    pub fn new(gpu: &Gpu, class: AdapterClass, matrices: &[UpdateMatrix]) -> Result<Self, GpuError> {
        let iterations = iterations(class, matrices.iter().map(|matrix| matrix.sides))?;
        let scratch = Scratch::new(gpu, ScratchWords::new(&iterations))?;
        let target = Target::with_class(gpu, class);
        let mut dispatches = Vec::new();
        for (UpdateMatrix { view, scale, .. }, iteration) in matrices.iter().zip(&iterations) {
            view.expect_len("orthogonalise", "matrix", iteration.len)?;
            let [norms, _] = unit_norm_words(iteration.len);
            let (iterate, norms) = (scratch.iterate.part(0, iteration.len)?, scratch.norms.part(0, norms)?);
            dispatches.extend(unit_norm(gpu, &target, [view, &norms, &iterate], LEAST_NORM)?);
            for number in 0..ITERATIONS {
                let views = if number % 2 == 0 { [&iterate, view] } else { [view, &iterate] };
                let scale = if number + 1 == ITERATIONS { *scale } else { 1.0 };
                dispatches.extend(iteration.bind(gpu, &scratch, views, scale)?);
            }
        }
        Ok(Self(dispatches))
    }

    /// Words of device memory that matrices of these sides take beside themselves.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for an empty matrix.
    pub fn scratch_words(class: AdapterClass, sides: &[[usize; 2]]) -> Result<usize, GpuError> {
        iterations(class, sides.iter().copied()).map(|iterations| ScratchWords::new(&iterations).total())
    }

    /// What matrices of these sides launch.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for an empty matrix, [`GpuError::Grid`] past the target's grid.
    pub fn launches(target: &Target, sides: &[[usize; 2]]) -> Result<Vec<Launch>, GpuError> {
        let mut launches = Vec::new();
        for iteration in iterations(target.class, sides.iter().copied())? {
            launches.extend(unit_norm_launches(target, iteration.len)?);
            let one = iteration.launches(target)?;
            launches.extend((0..ITERATIONS).flat_map(|_| one.clone()));
        }
        Ok(launches)
    }

    /// What [`Orthogonalise::record`] runs, in its order.
    #[must_use]
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.0
    }

    /// Records it for what the matrices hold.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        self.0.iter().for_each(|dispatch| recorder.run(dispatch));
    }
}
