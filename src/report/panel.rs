//! Drawing one panel. Axes, ticks and labels are ours: plotters' own leave a logarithmic axis to chance.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, VPos},
};

use super::{
    AxisScale,
    axis::Axis,
    figure::{Look, Panel, Series, SeriesPoint},
    font, marks,
    pen::{Drawn, Pen, Pixel, Slot, Type},
};

const GRID: RGBColor = RGBColor(228, 228, 228);
const INK: RGBColor = RGBColor(60, 60, 60);
const TITLE_SIZE: i32 = 17;
const NAME_SIZE: i32 = 16;
const TICK_SIZE: i32 = 15;
const MOST_TICKS: usize = 7;

/// The plotting rectangle in pixels and the axes over it.
struct Frame {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
    x: Axis,
    y: Axis,
}

impl Frame {
    /// The rectangle that leaves room for the labels of `x` and `y` within a cell.
    fn within((width, height): (u32, u32), x: Axis, y: Axis, z: i32) -> Self {
        let size = TICK_SIZE * z;
        let widest = y.ticks.iter().map(|(_, label)| font::width(label, size, FontStyle::Normal)).max().unwrap_or(0);
        let (left, right) = (42 * z + widest, width as i32 - 22 * z);
        Self { left, right, top: 36 * z, bottom: height as i32 - 58 * z, x, y }
    }

    fn pixel_x(&self, place: f64) -> i32 {
        let share = (place - self.x.low) / (self.x.high - self.x.low);
        self.left + (share * f64::from(self.right - self.left)).round() as i32
    }

    /// The height of a place; what lies outside ends at the edge.
    fn pixel_y(&self, place: f64) -> i32 {
        let share = (place - self.y.low) / (self.y.high - self.y.low);
        self.bottom - (share.clamp(0.0, 1.0) * f64::from(self.bottom - self.top)).round() as i32
    }

    fn middle(&self) -> Pixel {
        ((self.left + self.right) / 2, (self.top + self.bottom) / 2)
    }
}

/// Draws the panel; `look` gives the look of a label.
pub(super) fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panel: &Panel,
    look: &dyn Fn(&str) -> Look,
    pen: Pen,
) -> Drawn<B> {
    if panel.marks.is_empty() {
        return draw_plot(area, panel, look, pen);
    }
    let (plot, key) = area.clone().split_horizontally(marks::plot_width(area.dim_in_pixel().0));
    draw_plot(&plot, panel, look, pen)?;
    marks::draw_key(&key, &panel.marks, look, pen)
}

fn draw_plot<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panel: &Panel,
    look: &dyn Fn(&str) -> Look,
    pen: Pen,
) -> Drawn<B> {
    let size = area.dim_in_pixel();
    let title = Type::centred(TITLE_SIZE, FontStyle::Bold, BLACK);
    let Some((x, y)) = axes(panel) else {
        let (middle, room) = (size.0 as i32 / 2, size.0 as i32 - 40 * pen.zoom);
        pen.text(area, &panel.title, title, Slot::level((middle, 18 * pen.zoom), room))?;
        let kind = Type::centred(NAME_SIZE, FontStyle::Normal, INK);
        return pen.text(area, "no finite values", kind, Slot::level((middle, size.1 as i32 / 2), room));
    };
    let frame = Frame::within(size, x, y, pen.zoom);
    pen.text(area, &panel.title, title, Slot::level((frame.middle().0, 18 * pen.zoom), frame.right - frame.left))?;
    draw_axes(area, panel, &frame, pen)?;
    for series in &panel.series {
        draw_band(area, panel, series, &frame, look(&series.label).colour, pen)?;
    }
    for series in &panel.series {
        draw_line(area, panel, series, &frame, look(&series.label), pen)?;
    }
    let placed = panel.marks.iter().filter_map(|mark| {
        let (x, y) = (panel.x_scale.place(mark.x)?, panel.y_scale.place(mark.y)?);
        Some((mark, (frame.pixel_x(x), frame.pixel_y(y))))
    });
    marks::draw(area, &placed.collect::<Vec<_>>(), look, pen)
}

fn axes(panel: &Panel) -> Option<(Axis, Axis)> {
    let marks = panel.marks.iter().map(|mark| SeriesPoint { x: mark.x, y: mark.y, band: None });
    let points = panel.series.iter().flat_map(|series| series.points.iter().copied()).chain(marks);
    let (mut xs, mut ys, mut bands) = (Vec::new(), Vec::new(), Vec::new());
    for point in points {
        // Only points that have a place on both axes count.
        let (Some(x), Some(y)) = (panel.x_scale.place(point.x), panel.y_scale.place(point.y)) else { continue };
        xs.push(x);
        ys.push(y);
        let ends = point.band.map(|(low, high)| [low, high]).into_iter().flatten();
        bands.extend(ends.filter_map(|end| panel.y_scale.place(end)));
    }
    // Mean less deviation can come near 0, many decades below any line: such a band runs out of the picture.
    let lowest = ys.iter().copied().fold(f64::INFINITY, f64::min);
    let floor = if panel.y_scale == AxisScale::Log { lowest - 0.5 } else { f64::NEG_INFINITY };
    ys.extend(bands.into_iter().map(|end| end.max(floor)));
    let y = Axis::around(panel.y_scale, &ys, MOST_TICKS)?;
    let x = Axis::around(panel.x_scale, &xs, MOST_TICKS)?;
    Some((if panel.x_names.is_empty() { x } else { Axis::named(&panel.x_names) }, y))
}

fn draw_axes<B: DrawingBackend>(area: &DrawingArea<B, Shift>, panel: &Panel, frame: &Frame, pen: Pen) -> Drawn<B> {
    let z = pen.zoom;
    let tick = Type::centred(TICK_SIZE, FontStyle::Normal, INK);
    // Names share the width between them, numbers are short.
    let room = (frame.right - frame.left) / panel.x_names.len().max(1) as i32 - 4 * z;
    for (place, label) in &frame.x.ticks {
        let x = frame.pixel_x(*place);
        pen.line(area, &[(x, frame.top), (x, frame.bottom)], GRID, 1)?;
        let mut y = frame.bottom + 7 * z;
        for line in font::lines(label, TICK_SIZE * z, FontStyle::Normal, room) {
            pen.text(area, line, Type { v: VPos::Top, ..tick }, Slot::level((x, y), room))?;
            y += (TICK_SIZE + 1) * z;
        }
    }
    for (place, label) in &frame.y.ticks {
        let y = frame.pixel_y(*place);
        pen.line(area, &[(frame.left, y), (frame.right, y)], GRID, 1)?;
        pen.text(area, label, Type { h: HPos::Right, ..tick }, Slot::level((frame.left - 7 * z, y), frame.right))?;
    }
    pen.line(area, &[(frame.left, frame.top), (frame.left, frame.bottom), (frame.right, frame.bottom)], INK, 1)?;
    let name = Type::centred(NAME_SIZE, FontStyle::Normal, INK);
    let (x, y) = frame.middle();
    pen.text(area, &panel.x_label, name, Slot::level((x, frame.bottom + 40 * z), frame.right - frame.left))?;
    pen.text(area, &panel.y_label, name, Slot::upright((17 * z, y), frame.bottom - frame.top))
}

/// Runs of neighbouring points that all have a place; `of` gives a point's pixels.
fn runs<T>(points: impl Iterator<Item = Option<T>>) -> Vec<Vec<T>> {
    let mut runs = vec![Vec::new()];
    for point in points {
        match (point, runs.last_mut()) {
            (Some(point), Some(run)) => run.push(point),
            (None, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            _ => {}
        }
    }
    runs
}

fn draw_band<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panel: &Panel,
    series: &Series,
    frame: &Frame,
    colour: RGBColor,
    pen: Pen,
) -> Drawn<B> {
    let pixels = series.points.iter().map(|point| {
        panel.y_scale.place(point.y)?;
        let (low, high) = point.band?;
        let x = frame.pixel_x(panel.x_scale.place(point.x)?);
        // A band that reaches below what a logarithmic axis can show ends at the axis.
        let low = panel.y_scale.place(low).map_or(frame.bottom, |place| frame.pixel_y(place));
        Some((x, low, frame.pixel_y(panel.y_scale.place(high)?)))
    });
    for run in runs(pixels) {
        if series.scatter || run.len() == 1 {
            for (x, low, high) in run {
                pen.line(area, &[(x, low), (x, high)], colour, 1)?;
            }
        } else if run.len() > 1 {
            let lows = run.iter().map(|(x, low, _)| (*x, *low));
            let outline: Vec<_> = lows.chain(run.iter().rev().map(|(x, _, high)| (*x, *high))).collect();
            area.draw(&Polygon::new(outline, colour.mix(0.16).filled()))?;
        }
    }
    Ok(())
}

fn draw_line<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panel: &Panel,
    series: &Series,
    frame: &Frame,
    look: Look,
    pen: Pen,
) -> Drawn<B> {
    let pixels = series.points.iter().map(|point| {
        let (x, y) = (panel.x_scale.place(point.x)?, panel.y_scale.place(point.y)?);
        Some((frame.pixel_x(x), frame.pixel_y(y)))
    });
    for run in runs(pixels) {
        if series.scatter || run.len() == 1 {
            for point in run {
                area.draw(&Circle::new(point, 3 * pen.zoom, look.colour.filled()))?;
            }
        } else if look.dashed {
            pen.dashes(area, &run, look.colour, 2)?;
        } else if run.len() > 1 {
            pen.line(area, &run, look.colour, 2)?;
        }
    }
    Ok(())
}
