//! Strokes and text, at the scale of the drawing.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::font::{self, FAMILY};

/// What drawing on `B` gives.
pub(super) type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// A place in pixels.
pub(super) type Pixel = (i32, i32);

/// The drawing's scale and kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pen {
    /// Pixels per nominal pixel.
    pub(super) zoom: i32,
    /// Whether the reader's renderer joins lines.
    pub(super) vector: bool,
}

/// How a line of text is set.
#[derive(Clone, Copy)]
pub(super) struct Type {
    /// Nominal size.
    pub(super) size: i32,
    pub(super) style: FontStyle,
    pub(super) colour: RGBColor,
    pub(super) h: HPos,
    pub(super) v: VPos,
}

impl Type {
    /// Centred on its place.
    pub(super) fn centred(size: i32, style: FontStyle, colour: RGBColor) -> Self {
        Self { size, style, colour, h: HPos::Center, v: VPos::Center }
    }
}

/// Where a text goes.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    at: Pixel,
    /// Pixels that it may take.
    room: i32,
    /// Whether it is written upwards.
    upright: bool,
}

impl Slot {
    pub(super) fn level(at: Pixel, room: i32) -> Self {
        Self { at, room, upright: false }
    }

    pub(super) fn upright(at: Pixel, room: i32) -> Self {
        Self { at, room, upright: true }
    }
}

impl Pen {
    /// Sets `text` into `slot`.
    pub(super) fn text<B: DrawingBackend>(
        self,
        area: &DrawingArea<B, Shift>,
        text: &str,
        kind: Type,
        slot: Slot,
    ) -> Drawn<B> {
        let Slot { at, room, upright } = slot;
        let (text, size) = font::fit(text, kind.size * self.zoom, kind.style, room);
        let style = (FAMILY, size, kind.style).into_text_style(area).color(&kind.colour);
        let style = style.pos(Pos::new(kind.h, kind.v));
        let style = if upright { style.transform(FontTransform::Rotate270) } else { style };
        // plotters' bitmaps set centred text a sixth of its size too high.
        let centred = matches!(kind.v, VPos::Center) && !upright && !self.vector;
        let lower = if centred { size / 6 } else { 0 };
        area.draw_text(&text, &style, (at.0, at.1 + lower))
    }

    /// A line through `points`, `width` nominal pixels wide.
    pub(super) fn line<B: DrawingBackend>(
        self,
        area: &DrawingArea<B, Shift>,
        points: &[Pixel],
        colour: RGBColor,
        width: i32,
    ) -> Drawn<B> {
        let wide = width * self.zoom;
        let style = colour.stroke_width(wide as u32);
        if self.vector || width == 1 {
            return area.draw(&PathElement::new(points.to_vec(), style));
        }
        // plotters' own joins shoot far out of the picture at sharp turns: join the pieces with dots.
        for pair in points.windows(2) {
            area.draw(&PathElement::new(pair.to_vec(), style))?;
        }
        for joint in points.iter().skip(1).take(points.len().saturating_sub(2)) {
            area.draw(&Circle::new(*joint, wide / 2, colour.filled()))?;
        }
        Ok(())
    }

    /// The same, in dashes.
    pub(super) fn dashes<B: DrawingBackend>(
        self,
        area: &DrawingArea<B, Shift>,
        points: &[Pixel],
        colour: RGBColor,
        width: i32,
    ) -> Drawn<B> {
        let z = f64::from(self.zoom);
        dashed(points, 7.0 * z, 4.0 * z).iter().try_for_each(|dash| self.line(area, dash, colour, width))
    }
}

/// Cuts a line into dashes of length `on` with gaps of length `off`.
fn dashed(points: &[Pixel], on: f64, off: f64) -> Vec<Vec<Pixel>> {
    let mut dashes = Vec::new();
    let mut dash: Vec<Pixel> = points.first().copied().into_iter().collect();
    let (mut drawing, mut left) = (true, on);
    for pair in points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
        let length = dx.hypot(dy);
        let mut gone = 0.0;
        while length - gone > left {
            gone += left;
            let here = (from.0 + (dx * gone / length).round() as i32, from.1 + (dy * gone / length).round() as i32);
            if drawing {
                dash.push(here);
                dashes.push(std::mem::take(&mut dash));
            } else {
                dash = vec![here];
            }
            drawing = !drawing;
            left = if drawing { on } else { off };
        }
        left -= length - gone;
        if drawing {
            dash.push(to);
        }
    }
    dashes.push(dash);
    dashes.retain(|dash| dash.len() > 1);
    dashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_keep_their_length_around_corners() {
        let dashes = dashed(&[(0, 0), (10, 0), (10, 10)], 7.0, 4.0);
        assert_eq!(dashes, [vec![(0, 0), (7, 0)], vec![(10, 1), (10, 8)]]);
        assert!(dashed(&[(3, 3)], 7.0, 4.0).is_empty() && dashed(&[], 7.0, 4.0).is_empty());
    }
}
