//! The rules by name, and what each brings where a configuration does not say otherwise.

use crate::names::named;

named!("rule",
    /// What a step does with weights, noise and gradients.
    #[derive(Default)]
    RuleKind {
        /// Weight noise in the modes of the method, or none: Orvieto et al., AISTATS 2023.
        #[default]
        Noise = "noise",
        /// Sharpness-aware minimisation: Foret et al., ICLR 2021.
        Sam = "sam",
        /// Its adaptive form, whose distance is in units of the weights' magnitudes: Kwon et al., ICML 2021.
        Asam = "asam",
        /// Sharpness-aware minimisation by parts of a batch: Foret et al., ICLR 2021, section 4.1; Andriushchenko and Flammarion, ICML 2022.
        MSam = "m-sam",
        /// Momentum-SAM, in one pass: Becker, Altrock and Risse, 2024 (arXiv 2401.12033).
        Msam = "msam",
        /// Noise stability optimisation, noise of both signs: Zhang, Li and Ju, TMLR 2024.
        Nso = "nso",
        /// Low-pass filter SGD: Bisla, Wang and Choromanska, AISTATS 2022.
        Lpf = "lpf",
        /// Adaptive random weight perturbation: Li et al., TMLR 2024 (arXiv 2404.00357).
        Arwp = "arwp",
        /// Mixed random weight perturbation: the same.
        MRwp = "m-rwp",
        /// Improved variational online Newton: Shen et al., ICML 2024.
        Ivon = "ivon",
        /// Memory-efficient zeroth-order optimisation: Malladi et al., NeurIPS 2023.
        Mezo = "mezo",
        /// Label noise drawn anew at each visit: Damian, Ma and Lee, NeurIPS 2021.
        FreshLabels = "fresh-labels",
        /// Stochastic weight averaging with a Gaussian: Maddox et al., NeurIPS 2019.
        Swag = "swag",
    }
);

named!("statistics",
    /// Which of a step's passes move running statistics of batch norms.
    #[derive(Default)]
    StatisticsPass {
        /// The first that takes a gradient; of a step in parts the first over each.
        #[default]
        First = "first",
        /// The last that takes a gradient.
        Last = "last",
        /// Every one that takes a gradient.
        All = "all",
        /// None. A rule without gradients then goes by the running statistics.
        None = "none",
        /// That at the clean weights: where a rule takes no gradient there, a forward pass of its own.
        Clean = "clean",
    }
);

impl RuleKind {
    /// Whether it is that of the modes of noise.
    #[must_use]
    pub fn is_noise(&self) -> bool {
        *self == Self::Noise
    }

    /// Whether it moves the weights that the network sees by itself, so that a mode of noise has no place beside it.
    #[must_use]
    pub fn perturbs(self) -> bool {
        !matches!(self, Self::Noise | Self::FreshLabels | Self::Swag)
    }

    /// Whether it draws noise on all weights at the strength of sigma.
    #[must_use]
    pub fn draws_at_sigma(self) -> bool {
        matches!(self, Self::Nso | Self::Lpf | Self::Arwp | Self::MRwp)
    }

    /// Whether it updates weights by itself, in the optimizer's place.
    #[must_use]
    pub fn updates(self) -> bool {
        matches!(self, Self::Ivon | Self::Mezo)
    }

    /// Passes that move running statistics in the published code.
    #[must_use]
    pub fn statistics(self) -> StatisticsPass {
        match self {
            Self::Asam | Self::Ivon => StatisticsPass::All,
            Self::Nso | Self::MRwp => StatisticsPass::Clean,
            Self::Mezo => StatisticsPass::None,
            _ => StatisticsPass::First,
        }
    }

    /// The parameters that are this rule's own, by their keys.
    #[must_use]
    pub fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Noise => &[],
            Self::Sam | Self::Msam => &["rho"],
            Self::Asam => &["rho", "eta"],
            Self::MSam => &["rho", "sam-parts"],
            Self::Nso => &["pairs", "nso-lambda"],
            Self::Lpf => &["sub-batches"],
            Self::Arwp => &["arwp-eta", "arwp-beta"],
            Self::MRwp => &["rwp-lambda"],
            Self::Ivon => &["ess", "hess-init", "mc-samples"],
            Self::Mezo => &["mezo-eps"],
            Self::FreshLabels => &["fresh-label-noise"],
            Self::Swag => &["swag-start", "swag-every", "swag-rank"],
        }
    }
}
