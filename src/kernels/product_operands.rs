//! The tensors of a product, be it of matrices or a pass of a convolution.

use crate::gpu::View;

/// The tensors of a matrix product or of a convolution's pass; those without a use in the epilogue are `None`. A
/// convolution's images are [batch, height, width, padded channels].
#[derive(Clone, Copy, Debug)]
pub struct ProductOperands<'a> {
    /// [m, k] or [k, m]; of a convolution the input, or the gradient of the output.
    pub a: &'a View,
    /// [k, n] or [n, k]; of a convolution the weight ([`conv_pack`](super::conv_pack)'s, or PyTorch's where the variant
    /// [`is_direct`](super::ConvVariant::is_direct)), or the input for the weight gradient.
    pub b: &'a View,
    /// The bias, `[n]` or `[out]`, or what forward saved, shaped as `c`.
    pub aux: Option<&'a View>,
    /// [m, n]; of a convolution the output, the gradient of the input, or the gradient of the weight [out, in / groups,
    /// kernel height, kernel width].
    pub c: &'a View,
    /// The sums before the activation, shaped as `c`.
    pub pre: Option<&'a View>,
    /// As many words as [`MatmulVariant::scratch_words`](super::MatmulVariant::scratch_words) or
    /// [`ConvVariant::scratch_words`](super::ConvVariant::scratch_words) says, f32 whatever the operands are.
    pub scratch: Option<&'a View>,
}
