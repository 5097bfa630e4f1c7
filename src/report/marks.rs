//! Marks sized by their share and numbered, and the key that names them.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, VPos},
};

use super::{
    figure::{Look, Mark},
    font,
    pen::{Drawn, Pen, Pixel, Slot, Type},
};

const WIDTH: u32 = 1080;
const HEIGHT: u32 = 520;
const KEY_WIDTH: u32 = 400;
const KEY_TOP: i32 = 36;
const ROW_HEIGHT: i32 = 21;
const TEXT_SIZE: i32 = 14;
const NUMBER_SIZE: i32 = 13;
const INK: RGBColor = RGBColor(40, 40, 40);

/// Nominal radius of a mark of share 1, and of the least that is seen.
const LARGEST: f64 = 46.0;
const LEAST: f64 = 4.0;

/// Nominal width and height of a panel whose key has so many rows.
pub(super) fn panel_size(marks: usize) -> (u32, u32) {
    (WIDTH, HEIGHT.max((2 * KEY_TOP + ROW_HEIGHT * marks as i32) as u32))
}

/// Of a panel's pixels those left of the key.
pub(super) fn plot_width(width: u32) -> u32 {
    width * (WIDTH - KEY_WIDTH) / WIDTH
}

fn radius(mark: &Mark, z: i32) -> i32 {
    ((mark.share.clamp(0.0, 1.0).sqrt() * LARGEST).max(LEAST) * f64::from(z)).round() as i32
}

/// A rectangle by its middle and half its sides.
#[derive(Clone, Copy)]
struct Box {
    at: Pixel,
    half: Pixel,
}

impl Box {
    fn meets(&self, other: &Self) -> bool {
        (self.at.0 - other.at.0).abs() < self.half.0 + other.half.0
            && (self.at.1 - other.at.1).abs() < self.half.1 + other.half.1
    }
}

/// Draws the marks at their pixels, the largest undermost, each with its number where no other is.
pub(super) fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    marks: &[(&Mark, Pixel)],
    look: &dyn Fn(&str) -> Look,
    pen: Pen,
) -> Drawn<B> {
    let z = pen.zoom;
    let mut order: Vec<_> = marks.iter().collect();
    order.sort_by(|a, b| b.0.share.total_cmp(&a.0.share));
    for (mark, at) in &order {
        let (colour, radius) = (look(&mark.group).colour, radius(mark, z));
        area.draw(&Circle::new(*at, radius, colour.mix(0.3).filled()))?;
        area.draw(&Circle::new(*at, radius, colour.stroke_width((3 * z / 2) as u32)))?;
    }
    let mut taken: Vec<Box> = order.iter().map(|(mark, at)| dot(mark, *at, z)).collect();
    let kind = Type::centred(NUMBER_SIZE, FontStyle::Bold, INK);
    for (index, (mark, at)) in order.iter().enumerate() {
        let text = mark.number.to_string();
        let half = (font::width(&text, NUMBER_SIZE * z, FontStyle::Bold) / 2 + z, NUMBER_SIZE * z / 2);
        let place = place(&taken, index, *at, half, radius(mark, z), z);
        taken.push(Box { at: place, half });
        pen.text(area, &text, kind, Slot::level((place.0, place.1), 99 * z))?;
    }
    Ok(())
}

/// What a number may not cover: the middle of a mark.
fn dot(mark: &Mark, at: Pixel, z: i32) -> Box {
    let half = radius(mark, z).min(7 * z);
    Box { at, half: (half, half) }
}

/// Where a number goes: into a large mark, else beside it, as near as is free.
fn place(taken: &[Box], own: usize, at: Pixel, half: Pixel, radius: i32, z: i32) -> Pixel {
    let free = |place: Pixel, but: Option<usize>| {
        let here = Box { at: place, half };
        !taken.iter().enumerate().any(|(index, other)| Some(index) != but && here.meets(other))
    };
    if radius > half.1 + 2 * z && free(at, Some(own)) {
        return at;
    }
    for distance in [1, 8, 16, 26, 38] {
        let (dx, dy) = (radius + half.0 + distance * z, radius + half.1 + distance * z);
        let around = [(dx, 0), (-dx, 0), (0, -dy), (0, dy), (dx, -dy), (-dx, -dy), (dx, dy), (-dx, dy)];
        let found = around.into_iter().map(|(x, y)| (at.0 + x, at.1 + y)).find(|place| free(*place, None));
        if let Some(place) = found {
            return place;
        }
    }
    at
}

/// Number, name and note of each mark, a row each.
pub(super) fn draw_key<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    marks: &[Mark],
    look: &dyn Fn(&str) -> Look,
    pen: Pen,
) -> Drawn<B> {
    let z = pen.zoom;
    let right = area.dim_in_pixel().0 as i32 - 20 * z;
    let left = Type { h: HPos::Left, v: VPos::Center, ..Type::centred(TEXT_SIZE, FontStyle::Normal, INK) };
    for (row, mark) in marks.iter().enumerate() {
        let y = (KEY_TOP + ROW_HEIGHT * row as i32 + ROW_HEIGHT / 2) * z;
        let number = Type { h: HPos::Right, style: FontStyle::Bold, colour: look(&mark.group).colour, ..left };
        pen.text(area, &mark.number.to_string(), number, Slot::level((26 * z, y), 40 * z))?;
        let note = font::width(&mark.note, TEXT_SIZE * z, FontStyle::Normal);
        pen.text(area, &mark.note, Type { h: HPos::Right, ..left }, Slot::level((right, y), 99 * z))?;
        pen.text(area, &mark.label, left, Slot::level((36 * z, y), right - note - 46 * z))?;
    }
    Ok(())
}
