//! What products do with their sums: the host side of the overrides EPILOGUE, ACTIVATION and STORE_PRE.

use crate::gpu::{GpuError, KernelSpec, View};

use super::{Activation, Constant, flag};

/// What happens to each sum on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    Plain,
    /// activation(sum + bias), `aux` being the bias `[n]`; `store_pre` keeps the argument in `pre`.
    BiasActivation {
        /// The activation.
        activation: Activation,
        /// Whether backward will want the argument.
        store_pre: bool,
    },
    /// sum * activation'(saved), `aux` being what forward saved [m, n].
    ActivationGradient(Activation),
}

impl Epilogue {
    /// Fails unless `aux` and `pre` are as long as it reads and writes them: bias, pre-activation and what was saved.
    pub(super) fn check(
        self,
        spec: &KernelSpec,
        [aux, pre]: [Option<&View>; 2],
        [bias, pre_activation, saved]: [usize; 3],
    ) -> Result<(), GpuError> {
        let expected = match self {
            Self::Plain => [0, 0],
            Self::BiasActivation { store_pre, .. } => [bias, if store_pre { pre_activation } else { 0 }],
            Self::ActivationGradient(_) => [saved, 0],
        };
        for ((argument, view), expected) in [("aux", aux), ("pre", pre)].into_iter().zip(expected) {
            let found = view.map_or(0, View::len);
            if expected != 0 && found != expected {
                return Err(GpuError::Length { kernel: spec.entry, argument, expected, found });
            }
        }
        Ok(())
    }
}

/// What becomes of a product's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What happens to each.
    pub epilogue: Epilogue,
    /// Whether the result is added to what is there.
    pub accumulate: bool,
}

impl Ending {
    /// The sums as they are, in the place of whatever is there.
    pub const PLAIN: Self = Self { epilogue: Epilogue::Plain, accumulate: false };

    /// The overrides.
    pub(super) fn constants(self) -> Vec<Constant> {
        let mut constants = vec![flag("ACCUMULATE", self.accumulate)];
        constants.extend(epilogue_constants(self.epilogue));
        constants
    }
}

/// The overrides.
fn epilogue_constants(epilogue: Epilogue) -> [Constant; 3] {
    let (code, activation, store_pre) = match epilogue {
        Epilogue::Plain => (0.0, Activation::Identity, false),
        Epilogue::BiasActivation { activation, store_pre } => (1.0, activation, store_pre),
        Epilogue::ActivationGradient(activation) => (2.0, activation, false),
    };
    [("EPILOGUE", code), ("ACTIVATION", f64::from(activation.code())), flag("STORE_PRE", store_pre)]
}
