//! The strip above the panels: the title and the legend, which therefore covers no line.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, VPos},
};

use super::{
    figure::{Figure, Look},
    font,
    pen::{Drawn, Pen, Slot, Type},
};

const TITLE_SIZE: i32 = 22;
const TITLE_HEIGHT: i32 = 44;
const LEGEND_SIZE: i32 = 16;
const ROW_HEIGHT: i32 = 24;
const SWATCH: i32 = 34;
const GAP: i32 = 26;
const MARGIN: i32 = 20;

/// The legend in rows: places of the labels in `labels`, with their widths.
type Rows = Vec<Vec<(usize, i32)>>;

/// Nominal height of the strip above a figure `width` nominal pixels wide.
pub(super) fn height(figure: &Figure, labels: &[&str], width: u32) -> u32 {
    let legend = ROW_HEIGHT * rows(labels, width as i32, 1).len() as i32;
    let title = if figure.title.is_empty() { 8 } else { TITLE_HEIGHT };
    (title + legend + 8) as u32
}

fn rows(labels: &[&str], width: i32, zoom: i32) -> Rows {
    let room = width - 2 * MARGIN * zoom;
    let mut rows = Rows::new();
    let mut used = room;
    for (index, label) in labels.iter().enumerate() {
        let text = font::width(label, LEGEND_SIZE * zoom, FontStyle::Normal).min(room - SWATCH * zoom);
        let wide = text + (SWATCH + GAP) * zoom;
        match rows.last_mut() {
            // The last label of a row needs no gap after it.
            Some(row) if used + wide - GAP * zoom <= room => row.push((index, text)),
            _ => {
                rows.push(vec![(index, text)]);
                used = 0;
            }
        }
        used += wide;
    }
    rows
}

/// Draws title and legend.
pub(super) fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    figure: &Figure,
    labels: &[&str],
    pen: Pen,
) -> Drawn<B> {
    let z = pen.zoom;
    let width = area.dim_in_pixel().0 as i32;
    let mut top = 8 * z;
    if !figure.title.is_empty() {
        let title = Type::centred(TITLE_SIZE, FontStyle::Bold, BLACK);
        pen.text(area, &figure.title, title, Slot::level((width / 2, 26 * z), width - 2 * MARGIN * z))?;
        top = TITLE_HEIGHT * z;
    }
    let kind = Type { h: HPos::Left, ..Type::centred(LEGEND_SIZE, FontStyle::Normal, RGBColor(40, 40, 40)) };
    let kind = Type { v: VPos::Center, ..kind };
    // Rows are broken at the nominal size, so that PNG and SVG break alike and the height is right for both.
    for (number, row) in rows(labels, width / z, 1).iter().enumerate() {
        let total: i32 = row.iter().map(|(_, text)| text + SWATCH + GAP).sum::<i32>() - GAP;
        let mut x = (width - total * z) / 2;
        let y = top + (ROW_HEIGHT * number as i32 + ROW_HEIGHT / 2) * z;
        for (index, text) in row {
            swatch(area, figure.look(labels, labels[*index]), figure.only_marks(labels[*index]), (x, y), pen)?;
            // A nominal width is rounded down: leave the few pixels that it lacks.
            pen.text(area, labels[*index], kind, Slot::level((x + SWATCH * z, y), (text + 4) * z))?;
            x += (text + SWATCH + GAP) * z;
        }
    }
    Ok(())
}

fn swatch<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    look: Look,
    marks: bool,
    (x, y): (i32, i32),
    pen: Pen,
) -> Drawn<B> {
    let z = pen.zoom;
    let line = [(x, y), (x + (SWATCH - 9) * z, y)];
    if marks {
        area.draw(&Circle::new((x + (SWATCH - 9) * z / 2, y), 4 * z, look.colour.filled()))
    } else if look.dashed {
        pen.dashes(area, &line, look.colour, 3)
    } else {
        pen.line(area, &line, look.colour, 3)
    }
}
