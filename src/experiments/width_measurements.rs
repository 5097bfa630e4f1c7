//! What is measured over the width, and what it is compared with.

use serde::{Deserialize, Serialize};

use crate::{analysis::BlockVariance, noise::Mode};

use super::{Measured, statistics::log_log_slope, width_training::Trained};

/// What slopes are compared with.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bars {
    /// Least slope of what explodes.
    pub(super) explodes: f64,
    /// How far from 0 the slope of what stays may be.
    pub(super) stays: f64,
    /// Slopes of what stays are over the widths from this on: narrower networks have not settled.
    pub(super) settled: usize,
}

/// What was measured at one width in one mode.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Point {
    pub(super) width: usize,
    pub(super) mode: Mode,
    pub(super) blocks: Vec<BlockVariance>,
}

/// A family's measurements.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Family {
    pub(super) label: String,
    pub(super) points: Vec<Point>,
}

/// What was measured: all that the claims need.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Measurements {
    pub(super) variances: Vec<Family>,
    pub(super) training: Vec<Trained>,
}

/// A variance that is watched.
pub(super) type Quantity = fn(&BlockVariance) -> f64;

impl Family {
    /// The blocks of a mode, per width.
    pub(super) fn in_mode(&self, mode: Mode) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| point.mode == mode)
    }

    /// The log-log slope over the widths from `from` on, by jackknife over blocks.
    pub(super) fn slope(&self, mode: Mode, quantity: Quantity, from: usize) -> Measured {
        let points: Vec<&Point> = self.in_mode(mode).filter(|point| point.width >= from).collect();
        if points.len() < 2 {
            return Measured::nothing(format!("{} widths have no slope", points.len()));
        }
        let place = |point: &&Point| (point.width as f64, point.blocks.iter().map(quantity).collect());
        Measured::sampled(log_log_slope(&points.iter().map(place).collect::<Vec<_>>()))
    }

    /// Whether a part of a variance is within rounding of 0 at every width.
    pub(super) fn is_rounding(&self, mode: Mode, part: Quantity, whole: Quantity) -> bool {
        let mut blocks = self.in_mode(mode).flat_map(|point| &point.blocks);
        blocks.all(|block| part(block) <= ROUNDING * whole(block))
    }

    /// The narrowest width of the widest decade.
    pub(super) fn decade(&self) -> usize {
        self.points.iter().map(|point| point.width).max().unwrap_or(0).div_ceil(10)
    }
}

/// Of f32, squared, with room for sums.
pub(super) const ROUNDING: f64 = 1e-9;

/// What is watched, and which part of it has to explode.
pub(super) const TOTALS: [(&str, Quantity); 3] =
    [("output", |block| block.output), ("loss", |block| block.loss), ("gradient", |block| block.gradient)];
pub(super) const SECOND_ORDER: [(&str, Quantity); 2] =
    [("output", |block| block.output_second), ("loss", |block| block.loss_second)];
