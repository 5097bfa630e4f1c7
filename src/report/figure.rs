//! Figures: panels of lines with bands.

use plotters::style::RGBColor;

use super::AxisScale;

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

/// A mark of its own, named beside the axes by its number.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Abscissa.
    pub x: f64,
    /// Ordinate.
    pub y: f64,
    /// Its area, 1 for the largest that there can be.
    pub share: f64,
    /// Beside the mark, and before its name.
    pub number: usize,
    /// Its name.
    pub label: String,
    /// After the name.
    pub note: String,
    /// For the legend: marks of one group share a colour.
    pub group: String,
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
    /// Names of x = 1, 2 and so on, in place of numbers, on a linear axis.
    pub x_names: Vec<String>,
    /// The lines.
    pub series: Vec<Series>,
    /// Marks over them; a panel that has any is larger.
    pub marks: Vec<Mark>,
}

impl Panel {
    /// Labels of its series and groups of its marks.
    fn labels(&self) -> impl Iterator<Item = &str> {
        let series = self.series.iter().map(|series| series.label.as_str());
        series.chain(self.marks.iter().map(|mark| mark.group.as_str()))
    }
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
///
/// Labels past the last colour begin again, dashed.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

/// How the series of one label look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Look {
    pub(super) colour: RGBColor,
    pub(super) dashed: bool,
}

impl Figure {
    /// Labels in the order of their first use: the order of their colours.
    pub(super) fn labels(&self) -> Vec<&str> {
        let mut labels: Vec<&str> = Vec::new();
        for label in self.panels.iter().flat_map(Panel::labels) {
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        labels
    }

    pub(super) fn look(&self, labels: &[&str], label: &str) -> Look {
        let index = labels.iter().position(|other| *other == label).unwrap_or(0);
        Look { colour: PALETTE[index % PALETTE.len()], dashed: index / PALETTE.len() % 2 == 1 }
    }

    /// Whether every series of a label is without a line.
    pub(super) fn only_marks(&self, label: &str) -> bool {
        let mut series = self.panels.iter().flat_map(|panel| &panel.series).filter(|series| series.label == label);
        series.all(|series| series.scatter)
    }
}
