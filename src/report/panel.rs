//! Drawing one panel. Axes, ticks and labels are ours: plotters' own leave a logarithmic axis to chance.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    axis::Axis,
    figure::{Panel, Series},
    font::FAMILY,
};

type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

const GRID: RGBColor = RGBColor(226, 226, 226);
/// Ticks of an axis, about.
const MOST_TICKS: usize = 6;

const INK: RGBColor = RGBColor(60, 60, 60);

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
    fn pixel_x(&self, place: f64) -> i32 {
        self.left + ((place - self.x.low) / (self.x.high - self.x.low) * f64::from(self.right - self.left)) as i32
    }

    fn pixel_y(&self, place: f64) -> i32 {
        self.bottom - ((place - self.y.low) / (self.y.high - self.y.low) * f64::from(self.bottom - self.top)) as i32
    }
}

pub(super) fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panel: &Panel,
    colour: &dyn Fn(&str) -> RGBColor,
    zoom: u32,
) -> Drawn<B> {
    let z = zoom as i32;
    let (width, height) = area.dim_in_pixel();
    let (left, right, top, bottom) = (76 * z, width as i32 - 20 * z, 34 * z, height as i32 - 58 * z);
    let title = (FAMILY, 15 * z, FontStyle::Bold).into_text_style(area).color(&BLACK);
    let centred = Pos::new(HPos::Center, VPos::Center);
    area.draw_text(&panel.title, &title.pos(centred), ((left + right) / 2, 16 * z))?;
    let Some((x, y)) = axes(panel) else {
        let style = (FAMILY, 13 * z).into_text_style(area).color(&INK).pos(centred);
        return area.draw_text("no finite values", &style, ((left + right) / 2, (top + bottom) / 2));
    };
    let frame = Frame { left, right, top, bottom, x, y };
    draw_axes(area, panel, &frame, z)?;
    for series in &panel.series {
        draw_band(area, panel, series, &frame, colour(&series.label))?;
    }
    for series in &panel.series {
        draw_line(area, panel, series, &frame, colour(&series.label), z)?;
    }
    Ok(())
}

/// Axes around the points that have a place on both, and their bands.
fn axes(panel: &Panel) -> Option<(Axis, Axis)> {
    let points = panel.series.iter().flat_map(|series| &series.points);
    let placed: Vec<_> = points
        .filter(|point| panel.x_scale.place(point.x).is_some() && panel.y_scale.place(point.y).is_some())
        .collect();
    let bands = placed.iter().filter_map(|point| point.band).flat_map(|(low, high)| [low, high]);
    let x = Axis::around(panel.x_scale, placed.iter().map(|point| point.x), MOST_TICKS)?;
    let y = Axis::around(panel.y_scale, placed.iter().map(|point| point.y).chain(bands), MOST_TICKS)?;
    Some((x, y))
}

fn draw_axes<B: DrawingBackend>(area: &DrawingArea<B, Shift>, panel: &Panel, frame: &Frame, z: i32) -> Drawn<B> {
    let line = |points: Vec<(i32, i32)>, colour: RGBColor| PathElement::new(points, colour.stroke_width(z as u32));
    let ticks = (FAMILY, 12 * z).into_text_style(area).color(&INK);
    for (place, label) in &frame.x.ticks {
        let x = frame.pixel_x(*place);
        area.draw(&line(vec![(x, frame.top), (x, frame.bottom)], GRID))?;
        let style = ticks.clone().pos(Pos::new(HPos::Center, VPos::Top));
        area.draw_text(label, &style, (x, frame.bottom + 6 * z))?;
    }
    for (place, label) in &frame.y.ticks {
        let y = frame.pixel_y(*place);
        area.draw(&line(vec![(frame.left, y), (frame.right, y)], GRID))?;
        let style = ticks.clone().pos(Pos::new(HPos::Right, VPos::Center));
        area.draw_text(label, &style, (frame.left - 7 * z, y))?;
    }
    let corner = vec![(frame.left, frame.top), (frame.left, frame.bottom), (frame.right, frame.bottom)];
    area.draw(&line(corner, INK))?;
    let names = (FAMILY, 13 * z).into_text_style(area).color(&INK).pos(Pos::new(HPos::Center, VPos::Center));
    area.draw_text(&panel.x_label, &names, ((frame.left + frame.right) / 2, frame.bottom + 40 * z))?;
    let upright = names.transform(FontTransform::Rotate270);
    area.draw_text(&panel.y_label, &upright, (16 * z, (frame.top + frame.bottom) / 2))
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
) -> Drawn<B> {
    let pixels = series.points.iter().map(|point| {
        let (low, high) = point.band?;
        let x = frame.pixel_x(panel.x_scale.place(point.x)?);
        // A band that reaches below what a logarithmic axis can show ends at the axis.
        let low = panel.y_scale.place(low).map_or(frame.bottom, |place| frame.pixel_y(place));
        Some((x, low, frame.pixel_y(panel.y_scale.place(high)?)))
    });
    for run in runs(pixels) {
        if run.len() < 2 {
            continue;
        }
        let outline: Vec<_> =
            run.iter().map(|(x, low, _)| (*x, *low)).chain(run.iter().rev().map(|(x, _, high)| (*x, *high))).collect();
        area.draw(&Polygon::new(outline, colour.mix(0.16).filled()))?;
    }
    Ok(())
}

fn draw_line<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    panel: &Panel,
    series: &Series,
    frame: &Frame,
    colour: RGBColor,
    z: i32,
) -> Drawn<B> {
    let pixels = series.points.iter().map(|point| {
        let (x, y) = (panel.x_scale.place(point.x)?, panel.y_scale.place(point.y)?);
        Some((frame.pixel_x(x), frame.pixel_y(y)))
    });
    for run in runs(pixels) {
        if series.scatter || run.len() == 1 {
            for point in &run {
                area.draw(&Circle::new(*point, 3 * z, colour.filled()))?;
            }
        }
        if !series.scatter && run.len() > 1 {
            area.draw(&PathElement::new(run, colour.stroke_width(2 * z as u32)))?;
        }
    }
    Ok(())
}
