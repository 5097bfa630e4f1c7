//! Drawing a figure: once for PNG and once for SVG.

use std::path::{Path, PathBuf};

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use plotters::{coord::Shift, prelude::*};

use super::{
    Figure, ReportError, font, head, marks, panel,
    pen::{Drawn, Pen},
};

const PANEL_WIDTH: u32 = 450;
const PANEL_HEIGHT: u32 = 350;
/// Pixels of the PNG per nominal pixel.
const PNG_ZOOM: u32 = 2;
/// Samples per pixel of the PNG and direction: plotters' edges are ragged, and thin where a line is steep.
const SAMPLES: u32 = 3;
/// plotters places everything on whole units: finer ones keep the SVG's curves smooth.
const SVG_ZOOM: u32 = 4;

/// A figure as pixels.
#[derive(Clone, Debug)]
pub struct Png {
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The file.
    pub bytes: Vec<u8>,
}

impl Figure {
    fn columns(&self) -> usize {
        match self.panels.len() {
            0 | 1 => 1,
            2 | 4 => 2,
            _ => 3,
        }
    }

    fn rows(&self) -> usize {
        self.panels.len().div_ceil(self.columns()).max(1)
    }

    /// Nominal width and height of a panel.
    fn panel_size(&self) -> (u32, u32) {
        match self.panels.iter().map(|panel| panel.marks.len()).max() {
            None | Some(0) => (PANEL_WIDTH, PANEL_HEIGHT),
            Some(most) => marks::panel_size(most),
        }
    }

    /// Nominal width and height: those of the SVG. The PNG has twice as many pixels.
    fn size(&self) -> (u32, u32) {
        let (width, height) = self.panel_size();
        let width = width * self.columns() as u32;
        (width, head::height(self, &self.labels(), width) + height * self.rows() as u32)
    }

    /// The figure as SVG text.
    ///
    /// # Errors
    /// [`ReportError::Drawing`].
    pub fn to_svg(&self) -> Result<String, ReportError> {
        font::register();
        let (width, height) = self.size();
        let (fine_width, fine_height) = (SVG_ZOOM * width, SVG_ZOOM * height);
        let mut text = String::new();
        let pen = Pen { zoom: SVG_ZOOM as i32, vector: true };
        self.draw(&SVGBackend::with_string(&mut text, (fine_width, fine_height)).into_drawing_area(), pen)?;
        // The view box stays fine; the size is the nominal one.
        let fine = format!("width=\"{fine_width}\" height=\"{fine_height}\"");
        Ok(text.replacen(&fine, &format!("width=\"{width}\" height=\"{height}\""), 1))
    }

    /// Writes `stem.png` and `stem.svg`.
    ///
    /// # Errors
    /// [`ReportError`] naming figure or file.
    pub fn save(&self, stem: &Path) -> Result<[PathBuf; 2], ReportError> {
        // Not `with_extension`, to which the end of "rate-0.5" is one.
        let [png, svg] = [".png", ".svg"].map(|extension| {
            let mut path = stem.as_os_str().to_owned();
            path.push(extension);
            PathBuf::from(path)
        });
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| ReportError::Io { path, source }
        };
        std::fs::write(&png, self.to_png()?.bytes).map_err(io(&png))?;
        std::fs::write(&svg, self.to_svg()?).map_err(io(&svg))?;
        Ok([png, svg])
    }

    /// The figure as a PNG.
    ///
    /// # Errors
    /// [`ReportError::Drawing`].
    pub fn to_png(&self) -> Result<Png, ReportError> {
        font::register();
        let (width, height) = self.size();
        let (width, height) = (PNG_ZOOM * width, PNG_ZOOM * height);
        let (wide, high) = (SAMPLES * width, SAMPLES * height);
        let mut fine = vec![0; 3 * wide as usize * high as usize];
        let pen = Pen { zoom: (PNG_ZOOM * SAMPLES) as i32, vector: false };
        self.draw(&BitMapBackend::with_buffer(&mut fine, (wide, high)).into_drawing_area(), pen)?;
        let pixels = average(&fine, wide as usize, SAMPLES as usize);
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes)
            .write_image(&pixels, width, height, ExtendedColorType::Rgb8)
            .map_err(|error| self.refused(&error.to_string()))?;
        Ok(Png { width, height, bytes })
    }

    fn refused(&self, reason: &str) -> ReportError {
        ReportError::Drawing { figure: self.title.clone(), reason: reason.to_owned() }
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, pen: Pen) -> Result<(), ReportError> {
        self.draw_all(area, pen).map_err(|error| self.refused(&error.to_string()))
    }

    fn draw_all<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, pen: Pen) -> Drawn<B> {
        area.fill(&WHITE)?;
        let labels = self.labels();
        let body = self.panel_size().1 as i32 * self.rows() as i32 * pen.zoom;
        let (strip, body) = area.split_vertically(area.dim_in_pixel().1 as i32 - body);
        head::draw(&strip, self, &labels, pen)?;
        for (cell, panel) in body.split_evenly((self.rows(), self.columns())).iter().zip(&self.panels) {
            panel::draw(cell, panel, &|label| self.look(&labels, label), pen)?;
        }
        area.present()
    }
}

/// Means over squares of `side` by `side` pixels of an RGB picture `width` pixels wide.
fn average(fine: &[u8], width: usize, side: usize) -> Vec<u8> {
    let count = (side * side) as u32;
    let mut pixels = Vec::with_capacity(fine.len() / (side * side));
    for rows in fine.chunks_exact(3 * width * side) {
        let mut sums = vec![0u32; 3 * width / side];
        for row in rows.chunks_exact(3 * width) {
            for (x, pixel) in row.chunks_exact(3).enumerate() {
                let sum = &mut sums[3 * (x / side)..];
                sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u32::from(*value));
            }
        }
        pixels.extend(sums.into_iter().map(|sum| ((sum + count / 2) / count) as u8));
    }
    pixels
}
