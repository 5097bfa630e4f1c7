//! Figures: panels of lines with bands, drawn once for PNG and once for SVG.

use std::path::{Path, PathBuf};

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    AxisScale, ReportError,
    font::{self, FAMILY},
    panel,
};

/// A point of a series, with a band around it where there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesPoint {
    /// Abscissa.
    pub x: f64,
    /// Ordinate.
    pub y: f64,
    /// Lower and upper end of the band.
    pub band: Option<(f64, f64)>,
}

/// A line with a label.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// For the legend; series of one label share a colour over all panels.
    pub label: String,
    /// In order of x; where a value is not finite the line breaks.
    pub points: Vec<SeriesPoint>,
    /// Marks only, no line.
    pub scatter: bool,
}

impl Series {
    /// A plain line.
    #[must_use]
    pub fn line(label: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let points = points.into_iter().map(|(x, y)| SeriesPoint { x, y, band: None }).collect();
        Self { label: label.to_owned(), points, scatter: false }
    }

    /// A line with a band.
    #[must_use]
    pub fn banded(label: &str, points: Vec<SeriesPoint>) -> Self {
        Self { label: label.to_owned(), points, scatter: false }
    }
}

/// One pair of axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// Above the axes.
    pub title: String,
    /// Below.
    pub x_label: String,
    /// Beside.
    pub y_label: String,
    /// Spread of x.
    pub x_scale: AxisScale,
    /// Spread of y.
    pub y_scale: AxisScale,
    /// The lines.
    pub series: Vec<Series>,
}

/// Panels under one title with one legend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    /// Above everything.
    pub title: String,
    /// Below the figure in a report.
    pub caption: String,
    /// Laid out in rows of at most three.
    pub panels: Vec<Panel>,
}

/// Okabe and Ito's palette, which colour-blind readers can tell apart, in an order that keeps neighbours distinct.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

const PANEL_WIDTH: u32 = 520;
const PANEL_HEIGHT: u32 = 400;
const HEAD_HEIGHT: u32 = 84;

impl Figure {
    fn columns(&self) -> usize {
        match self.panels.len() {
            0 | 1 => 1,
            2 | 4 => 2,
            _ => 3,
        }
    }

    /// Width and height in pixels of the SVG; the PNG has twice as many.
    fn size(&self) -> (u32, u32) {
        let rows = self.panels.len().div_ceil(self.columns()).max(1) as u32;
        (PANEL_WIDTH * self.columns() as u32, HEAD_HEIGHT + PANEL_HEIGHT * rows)
    }

    /// Labels in the order of their first use: the order of their colours.
    fn labels(&self) -> Vec<&str> {
        let mut labels: Vec<&str> = Vec::new();
        for series in self.panels.iter().flat_map(|panel| &panel.series) {
            if !labels.contains(&series.label.as_str()) {
                labels.push(&series.label);
            }
        }
        labels
    }

    /// The figure as SVG text.
    ///
    /// # Errors
    /// [`ReportError::Drawing`].
    pub fn to_svg(&self) -> Result<String, ReportError> {
        let mut text = String::new();
        self.draw(&SVGBackend::with_string(&mut text, self.size()).into_drawing_area(), 1)?;
        Ok(text)
    }

    /// Writes `stem.png` and `stem.svg`.
    ///
    /// # Errors
    /// [`ReportError`] naming figure or file.
    pub fn save(&self, stem: &Path) -> Result<[PathBuf; 2], ReportError> {
        let [png, svg] = ["png", "svg"].map(|extension| stem.with_extension(extension));
        let (width, height) = self.size();
        self.draw(&BitMapBackend::new(&png, (2 * width, 2 * height)).into_drawing_area(), 2)?;
        std::fs::write(&svg, self.to_svg()?).map_err(|source| ReportError::Io { path: svg.clone(), source })?;
        Ok([png, svg])
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, zoom: u32) -> Result<(), ReportError> {
        font::register();
        self.draw_all(area, zoom)
            .map_err(|error| ReportError::Drawing { figure: self.title.clone(), reason: error.to_string() })
    }

    fn draw_all<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        zoom: u32,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let (head, body) = area.split_vertically(HEAD_HEIGHT * zoom);
        let labels = self.labels();
        self.draw_head(&head, &labels, zoom)?;
        let rows = self.panels.len().div_ceil(self.columns()).max(1);
        for (cell, panel) in body.split_evenly((rows, self.columns())).iter().zip(&self.panels) {
            let colour = |label: &str| {
                let index = labels.iter().position(|other| *other == label).unwrap_or(0);
                PALETTE[index % PALETTE.len()]
            };
            panel::draw(cell, panel, &colour, zoom)?;
        }
        area.present()
    }

    /// Title, and below it the legend in one line.
    fn draw_head<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        labels: &[&str],
        zoom: u32,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let z = zoom as i32;
        let middle = area.dim_in_pixel().0 as i32 / 2;
        let title = (FAMILY, 20 * z, FontStyle::Bold).into_text_style(area).color(&BLACK);
        let centred = title.pos(Pos::new(HPos::Center, VPos::Center));
        area.draw_text(&self.title, &centred, (middle, 26 * z))?;
        let style = (FAMILY, 14 * z).into_text_style(area).color(&RGBColor(40, 40, 40));
        let style = style.pos(Pos::new(HPos::Left, VPos::Center));
        let widths: Vec<i32> = labels
            .iter()
            .map(|label| area.estimate_text_size(label, &style).map(|(width, _)| width as i32))
            .collect::<Result<_, _>>()?;
        let (swatch, gap) = (26 * z, 24 * z);
        let total: i32 = widths.iter().map(|width| width + swatch + gap).sum::<i32>() - gap;
        let mut x = middle - total / 2;
        let y = 62 * z;
        for (index, (label, width)) in labels.iter().zip(widths).enumerate() {
            let colour = PALETTE[index % PALETTE.len()];
            area.draw(&Rectangle::new([(x, y - 2 * z), (x + swatch - 8 * z, y + 2 * z)], colour.filled()))?;
            area.draw_text(label, &style, (x + swatch, y))?;
            x += swatch + width + gap;
        }
        Ok(())
    }
}
