//! Products that leave the parts of their sums as they are, for [`deferred_sums`](super::deferred_sums()) to add up.

use crate::gpu::{Dispatch, Element, Gpu, GpuError, Launch, View};

use super::{
    AdapterClass, BlockTile, ConvPass, ConvProblem, ConvShape, ConvVariant, Ending, Lanes, MatmulProblem,
    MatmulVariant, SplitSum, Target,
    conv::{admit_tiles, bind_tiles},
    matmul::Tiles,
};

/// A variant of a product whose sums may be cut into parts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PartedProduct {
    /// A convolution's weight gradient, on an adapter of so many lanes.
    Conv(Lanes, ConvVariant, ConvShape),
    /// A matrix product.
    Matmul(MatmulVariant, MatmulProblem),
}

impl PartedProduct {
    /// By the class's variant, and whether its sums are cut.
    ///
    /// A weight gradient by Winograd's products ends otherwise: then it is the variant that may stand in for one by cooperative
    /// matrices which a device computes wrong, when the sum has been put off already.
    pub(crate) fn conv(class: AdapterClass, element: Element, shape: ConvShape) -> Result<(Self, bool), GpuError> {
        let variant = class.conv_variant(element, &shape, ConvPass::WeightGradient);
        let ends_in_sums = !matches!(variant, ConvVariant::Winograd(_));
        let variant = if ends_in_sums { variant } else { ConvVariant::Block(BlockTile::SMALL) };
        let product = Self::Conv(class.lanes(), variant, shape);
        Ok((product, ends_in_sums && product.sum()?.parts > 1))
    }

    /// By the class's variant, and whether its sums are cut.
    pub(crate) fn matmul(
        class: AdapterClass,
        element: Element,
        problem: MatmulProblem,
    ) -> Result<(Self, bool), GpuError> {
        let product = Self::Matmul(class.matmul_variant(element, problem.shape), problem);
        Ok((product, product.sum()?.parts > 1))
    }

    /// How the parts add up.
    pub(crate) fn sum(&self) -> Result<SplitSum, GpuError> {
        match self {
            Self::Conv(lanes, variant, shape) => variant.split(*lanes, ConvPass::WeightGradient, shape),
            Self::Matmul(variant, problem) => Ok(variant.split(problem.shape)),
        }
    }

    fn operand_lens(&self) -> [usize; 2] {
        match self {
            Self::Conv(_, _, shape) => {
                let [input, output] = shape.words();
                [output, input]
            }
            Self::Matmul(_, MatmulProblem { shape, .. }) => {
                let [m, n, k] = [shape.m, shape.n, shape.k].map(|side| side as usize);
                [m * k, k * n]
            }
        }
    }

    /// What makes the parts.
    pub(crate) fn launch(&self, target: &Target) -> Result<Launch, GpuError> {
        match self {
            Self::Conv(_, variant, shape) => {
                variant.tiles_launch(target, weight_gradient(shape), self.sum()?, Ending::PLAIN)
            }
            Self::Matmul(variant, problem) => Tiles::parts(*variant, *problem).launch(target),
        }
    }

    /// Fails where the device computes wrong by the cooperative matrices of the variant.
    pub(crate) fn admit(&self, gpu: &Gpu, element: Element) -> Result<(), GpuError> {
        let launch = self.launch(&Target::for_device(gpu))?;
        // Views of the right elements, which is all that is asked of them.
        let [operand, unused, parts] = [gpu.unused(0)?, gpu.unused(1)?, gpu.unused(2)?];
        let words = operand.len();
        let (operand, parts) =
            (operand.read_as(element, words * element.per_word())?, parts.read_as(Element::Word, words)?);
        let views = [&operand, &operand, &unused, &parts, &unused];
        match self {
            Self::Conv(_, variant, shape) => {
                admit_tiles(gpu, *variant, weight_gradient(shape), Ending::PLAIN, &launch, views)
            }
            Self::Matmul(variant, problem) => Tiles::parts(*variant, *problem).admit(gpu, &launch, views),
        }
    }

    /// Plans the parts of the product of `a` and `b` into the first of `partials`, which may be longer.
    pub(crate) fn bind(&self, gpu: &Gpu, a: &View, b: &View, partials: &View) -> Result<Dispatch, GpuError> {
        let (launch, sum) = (self.launch(&Target::for_device(gpu))?, self.sum()?);
        let [a_len, b_len] = self.operand_lens();
        a.expect_len(launch.spec.entry, "a", a_len)?;
        b.expect_len(launch.spec.entry, "b", b_len)?;
        let [aux, pre] = [gpu.unused(0)?, gpu.unused(1)?];
        let parts = partials.part(0, sum.parts as usize * sum.count as usize)?;
        let views = [a, b, &aux, &parts, &pre];
        match self {
            Self::Conv(_, variant, shape) => {
                bind_tiles(gpu, *variant, weight_gradient(shape), Ending::PLAIN, &launch, views)
            }
            Self::Matmul(variant, problem) => Tiles::parts(*variant, *problem).bind(gpu, &launch, views),
        }
    }
}

fn weight_gradient(shape: &ConvShape) -> ConvProblem<'_> {
    ConvProblem { pass: ConvPass::WeightGradient, shape }
}
