//! The bundled font: figures must not depend on the fonts of the machine.

use std::sync::Once;

use plotters::style::{FontStyle, register_font};

/// The family that figures are set in.
pub(super) const FAMILY: &str = "DejaVu Sans";

static REGULAR: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans-subset.ttf");
static BOLD: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans-Bold-subset.ttf");

/// Makes the family known to plotters; later calls do nothing.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (style, bytes) in [(FontStyle::Normal, REGULAR), (FontStyle::Bold, BOLD)] {
            if register_font(FAMILY, style, bytes).is_err() {
                // The bytes are part of the program and a test draws with them.
                log::error!("the bundled font does not load; figures will lack text");
            }
        }
    });
}
