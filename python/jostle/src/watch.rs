//! Python while the engine runs without it: Ctrl-C, and callbacks.

use std::time::{Duration, Instant};

use jostle::train::{Control, Event};
use pyo3::prelude::*;

/// How often Python's signals are looked at: a key press is answered at once, and steps of microseconds do not wait for the GIL.
const PATIENCE: Duration = Duration::from_millis(50);

/// Hears of a run for Python, and stops it where Python says so.
pub struct Watch {
    /// Called with the JSON of each record; stops the run with `False`.
    callback: Option<Py<PyAny>>,
    looked: Instant,
    /// What Ctrl-C or a callback raised; nothing is called after it.
    pub raised: Option<PyErr>,
    stopped: bool,
}

impl Watch {
    pub fn new(callback: Option<Py<PyAny>>) -> Self {
        Self { callback, looked: Instant::now(), raised: None, stopped: false }
    }

    /// What the run should do after an event; `json` is what the callback is given of it.
    pub fn heard(&mut self, event: &Event, json: impl FnOnce() -> String) -> Control {
        match event {
            Event::Progress { .. } | Event::Step(_) => self.look(),
            Event::Epoch(_) => self.call(&json()),
        }
        self.control()
    }

    /// Whether to go on.
    pub fn control(&self) -> Control {
        if self.stopped || self.raised.is_some() { Control::Stop } else { Control::Continue }
    }

    /// Looks for Ctrl-C, now and then.
    pub fn look(&mut self) {
        if self.raised.is_none() && self.looked.elapsed() >= PATIENCE {
            self.looked = Instant::now();
            self.raised = Python::attach(|py| py.check_signals()).err();
        }
    }

    fn call(&mut self, json: &str) {
        let Some(callback) = self.callback.as_ref().filter(|_| self.raised.is_none()) else { return };
        match Python::attach(|py| callback.call1(py, (json,))?.extract::<bool>(py)) {
            Ok(goes_on) => self.stopped |= !goes_on,
            Err(error) => self.raised = Some(error),
        }
    }
}
