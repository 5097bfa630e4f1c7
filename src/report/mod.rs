//! Figures (PNG and SVG), tables and a self-contained HTML report, from plain records.

mod axis;
mod draw;
mod error;
mod escape;
mod figure;
mod font;
mod head;
mod html;
mod marks;
mod panel;
mod pen;
mod summary;
mod table;

pub use axis::AxisScale;
pub use draw::Png;
pub use error::ReportError;
pub use figure::{Figure, Mark, Panel, Series, SeriesPoint};
pub use html::{Block, HtmlReport, Section};
pub use summary::{MeanSd, band};
pub use table::Table;
