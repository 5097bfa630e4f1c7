//! The kernels that compute a convolution.

use crate::gpu::{Element, Gpu};

use super::{
    AdapterClass, BlockTile, CoopTile, conv_coop_row,
    conv_shape::{ConvPass, ConvShape},
    software::Lanes,
    winograd_tile::WinogradTile,
};

/// The kernels that compute a convolution; all pass the same test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvVariant {
    /// Tiles through workgroup memory, for GPUs. One group.
    Block(BlockTile),
    /// Tiles of up to 64 columns through workgroup memory, as few as 16 with more rows instead, for GPUs. One group.
    Tile,
    /// Tiles in registers, 32 x 32 with 8 lanes, for software adapters. One group.
    Software,
    /// Tiles of twice as many columns, for the same adapters. One group.
    SoftwareWide,
    /// Tiles of all channels of a result, up to 16 with 8 lanes, for the same adapters. One group; no weight gradients.
    SoftwareNarrow,
    /// 3 x 3 without strides, with 4 multiplications for 9 or for 16, as products of the adapter's kind.
    Winograd(WinogradTile),
    /// An element at a time: grouped and depthwise convolutions. Takes the weights as they are. A weight gradient's sums are
    /// shared by a workgroup's invocations, for GPUs.
    Direct,
    /// The same with an invocation for each sum, for software adapters.
    DirectSoftware,
    /// Cooperative matrices, where the adapter lists them. One group.
    Coop(CoopTile),
    /// The same, a row of the kernel's taps at once: weight gradients of 3 x 3 with a padding of 1, without strides, of whole octets
    /// of channels.
    CoopRow(CoopTile),
}

impl ConvVariant {
    /// Every variant that can run a pass of this shape on this adapter for operands stored as `element`.
    #[must_use]
    pub fn available(gpu: &Gpu, element: Element, shape: &ConvShape, pass: ConvPass) -> Vec<Self> {
        let mut variants = vec![Self::Direct, Self::DirectSoftware, Self::Tile];
        variants.extend(BlockTile::ALL.map(Self::Block));
        variants.extend(WinogradTile::ALL.map(Self::Winograd));
        let lanes = AdapterClass::for_device(gpu).lanes();
        if lanes != Lanes::Unknown {
            variants.extend([Self::Software, Self::SoftwareWide, Self::SoftwareNarrow]);
        }
        variants.extend(
            CoopTile::available(gpu, element).into_iter().flat_map(|tile| [Self::Coop(tile), Self::CoopRow(tile)]),
        );
        variants.retain(|variant| variant.covers(lanes, shape, pass));
        variants
    }

    /// Whether it reads weights as [`conv_pack`](super::conv_pack) leaves them.
    #[must_use]
    pub fn wants_packed(self) -> bool {
        !self.is_direct()
    }

    /// Whether it goes by elements, not by tiles of a product, and so takes groups.
    #[must_use]
    pub fn is_direct(self) -> bool {
        matches!(self, Self::Direct | Self::DirectSoftware)
    }

    /// Whether it computes a pass of this shape on an adapter of so many lanes.
    pub(super) fn covers(self, lanes: Lanes, shape: &ConvShape, pass: ConvPass) -> bool {
        match self {
            Self::Direct | Self::DirectSoftware => true,
            Self::Block(_) | Self::Tile | Self::Software | Self::SoftwareWide | Self::Coop(_) => shape.groups == 1,
            Self::SoftwareNarrow => {
                let [_, quads, _] = shape.product(pass);
                shape.groups == 1 && pass != ConvPass::WeightGradient && quads <= lanes.narrow_quads()
            }
            Self::Winograd(_) => shape.is_dense_three_by_three(),
            Self::CoopRow(tile) => tile.takes_rows() && conv_coop_row::covers(shape, pass),
        }
    }
}
