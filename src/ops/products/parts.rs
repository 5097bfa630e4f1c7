//! Weight gradients in two calls: products that leave the parts of their sums, and the sums of many of them.

use std::{any::Any, fmt, sync::Arc};

use crate::{
    gpu::{Element, GpuError, Launch},
    graph::{Binding, Call, Deferred, Kernel, LaunchContext, Record, Tangent},
    kernels::{AdapterClass, DeferredSum, PartedProduct, deferred_sums, deferred_sums_launches, with_variants},
};

use super::{A, B, C, pairs, places};

/// A product whose sums may be cut into parts, and put off.
pub(super) trait Parted: fmt::Debug + Send + Sync {
    /// The product by the class's variant, and whether its sums are cut.
    fn parted(&self, class: AdapterClass, element: Element) -> Result<(PartedProduct, bool), GpuError>;

    /// As a call that is not cut.
    fn whole(&self) -> &dyn Kernel;
}

/// The product in two, where the class's variant cuts its sums. The parts have room for those of the variant too that stands in
/// where a device computes wrong by cooperative matrices.
pub(super) fn deferred(
    product: Arc<dyn Parted>,
    class: AdapterClass,
    element: Element,
) -> Result<Option<Deferred>, GpuError> {
    let (_, is_cut) = product.parted(class, element)?;
    if !is_cut {
        return Ok(None);
    }
    let mut words = 0;
    for class in [class, class.without_matrices()] {
        let sum = product.parted(class, element)?.0.sum()?;
        words = words.max(sum.parts as usize * sum.count as usize);
    }
    let parts = Arc::new(ProductParts(Arc::clone(&product)));
    Ok(Some(Deferred { parts, words, sum: Arc::new(DeferredSums(vec![product])) }))
}

/// A product that leaves the parts of its sums; operands: the product's, the parts in the place of the result.
#[derive(Debug)]
struct ProductParts(Arc<dyn Parted>);

impl Kernel for ProductParts {
    fn kind(&self) -> &'static str {
        self.0.whole().kind()
    }

    fn sizes(&self) -> String {
        self.0.whole().sizes()
    }

    /// Sums are put off in steps of training alone.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, call: &Call) -> u64 {
        self.0.whole().flops(call)
    }

    fn product(&self) -> Option<String> {
        self.0.whole().product()
    }

    fn launches(&self, _call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let (product, _) = self.0.parted(context.target.class, context.element)?;
        Ok(vec![product.launch(&context.target)?])
    }

    fn bind(&self, _call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let dispatch = with_variants(binding.gpu, |class| {
            let (product, _) = self.0.parted(class, binding.element)?;
            product.bind(binding.gpu, binding.view(A)?, binding.view(B)?, binding.view(C)?)
        })?;
        Ok(Box::new(dispatch))
    }
}

/// The sums of products' parts; operands: of each the parts, then the result.
#[derive(Debug)]
struct DeferredSums(Vec<Arc<dyn Parted>>);

impl DeferredSums {
    /// How each product is cut, which `sum` says.
    fn sums(
        &self,
        call: &Call,
        sum: impl Fn(&dyn Parted) -> Result<PartedProduct, GpuError>,
    ) -> Result<Vec<DeferredSum>, GpuError> {
        let products = self.0.iter().zip(pairs(call));
        let sums = products
            .map(|(product, [_, result])| Ok(DeferredSum { sum: sum(&**product)?.sum()?, accumulate: result.adds() }));
        sums.collect()
    }
}

impl Kernel for DeferredSums {
    fn kind(&self) -> &'static str {
        "sums"
    }

    fn sizes(&self) -> String {
        format!("{} products", self.0.len())
    }

    /// As [`ProductParts`].
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, call: &Call) -> u64 {
        pairs(call).map(|[parts, _]| parts.len as u64).sum()
    }

    fn joined(&self, other: &dyn Kernel) -> Option<Arc<dyn Kernel>> {
        let other: &dyn Any = other;
        let Self(others) = other.downcast_ref()?;
        Some(Arc::new(Self([self.0.as_slice(), others].concat())))
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        let sums = self.sums(call, |product| Ok(product.parted(context.target.class, context.element)?.0))?;
        deferred_sums_launches(&context.target, &sums, &places(call, context))
    }

    /// By the variants that the products themselves are bound to.
    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let gpu = binding.gpu;
        let sums = self.sums(call, |product| {
            with_variants(gpu, |class| {
                let (product, _) = product.parted(class, binding.element)?;
                product.admit(gpu, binding.element)?;
                Ok(product)
            })
        })?;
        let views: Vec<_> = binding.views.as_chunks::<2>().0.iter().map(|job| job.each_ref()).collect();
        Ok(Box::new(deferred_sums(gpu, &sums, &views)?))
    }
}
