//! Calls bound to their views.

use std::fmt;

use crate::{
    gpu::{Dispatch, Recorder},
    kernels::{Gather, GatherTokens, MetricsSum},
};

use super::BatchInfo;

/// A call bound to its views: what a step records.
pub trait Record: fmt::Debug + Send + Sync {
    /// Its dispatches in their order.
    fn dispatches(&self) -> Vec<&Dispatch>;

    /// Records it for a batch.
    fn record(&self, recorder: &mut Recorder<'_>, _batch: &BatchInfo) {
        self.dispatches().into_iter().for_each(|dispatch| recorder.run(dispatch));
    }
}

impl Record for Dispatch {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![self]
    }
}

impl Record for Vec<Dispatch> {
    fn dispatches(&self) -> Vec<&Dispatch> {
        self.iter().collect()
    }

    fn record(&self, recorder: &mut Recorder<'_>, _batch: &BatchInfo) {
        self.iter().for_each(|dispatch| recorder.run(dispatch));
    }
}

impl Record for Gather {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![self.dispatch()]
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.first, batch.valid, batch.epoch);
    }
}

impl Record for GatherTokens {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![self.dispatch()]
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.first, batch.valid);
    }
}

impl Record for MetricsSum {
    fn dispatches(&self) -> Vec<&Dispatch> {
        vec![self.dispatch()]
    }

    fn record(&self, recorder: &mut Recorder<'_>, batch: &BatchInfo) {
        Self::record(self, recorder, batch.slot, batch.slot_adds);
    }
}
