//! Activations: the host's names for `shaders/shared/activation.wgsl`.

use crate::names::named;

named!("activation",
    /// An elementwise activation.
    #[derive(Default)]
    Activation {
        /// x
        Identity = "identity",
        /// max(x, 0)
        #[default]
        Relu = "relu",
        /// x Phi(x), exact
        Gelu = "gelu",
        /// tanh x
        Tanh = "tanh",
        /// 1 / (1 + exp(-x))
        Sigmoid = "sigmoid",
        /// x / (1 + exp(-x))
        Silu = "silu",
        /// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), the GELU of GPT-2
        GeluTanh = "gelu_tanh",
    }
);

impl Activation {
    /// The override's value.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Identity => 0,
            Self::Relu => 1,
            Self::Gelu => 2,
            Self::Tanh => 3,
            Self::Sigmoid => 4,
            Self::Silu => 5,
            Self::GeluTanh => 6,
        }
    }

    /// Whether backward needs the pre-activation; the others need the output.
    #[must_use]
    pub fn saves_input(self) -> bool {
        matches!(self, Self::Gelu | Self::Silu | Self::GeluTanh)
    }

    /// Whether its second derivative is 0 wherever it exists.
    #[must_use]
    pub fn is_piecewise_linear(self) -> bool {
        matches!(self, Self::Identity | Self::Relu)
    }
}
