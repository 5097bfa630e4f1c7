//! `train`: a run in a folder, as `jostle train` makes it.

use std::path::PathBuf;

use jostle::{
    analysis::{TraceEstimate, TraceOptions},
    experiments::write_curves,
    gpu::{AdapterChoice, Gpu},
    train::{
        Event, KeepOptions, Message, OnDeviceLost, RunConfig, RunResult, Status, Supervisor, SupervisorOptions,
        TrainError, Trainer,
    },
};
use pyo3::prelude::*;
use serde_json::json;

use crate::{
    arrays::{Arrays, Own},
    failure::Failure,
    settings::Settings,
    watch::Watch,
};

/// How a run is kept, and what is measured at its end.
#[derive(Debug, FromPyObject)]
pub struct Ways {
    #[pyo3(item)]
    adapter: Option<String>,
    /// Resumes the run in the folder.
    #[pyo3(item)]
    resume: bool,
    /// Though data or configuration are others.
    #[pyo3(item)]
    force: bool,
    /// Probes of the Hessian's trace.
    #[pyo3(item)]
    hessian: u32,
    #[pyo3(item)]
    checkpoint_every: Option<String>,
    #[pyo3(item)]
    keep_checkpoints: Option<usize>,
    /// Goes on from the last checkpoint where the device is lost.
    #[pyo3(item)]
    retry: bool,
}

impl Ways {
    fn supervisor(&self) -> Result<SupervisorOptions, Failure> {
        let mut keep = KeepOptions::default();
        if let Some(every) = &self.checkpoint_every {
            let wrong = |reason| Failure::config(format!("checkpoint-every: {reason}"));
            keep.checkpoint_every = every.parse().map_err(wrong)?;
        }
        keep.keep_checkpoints = self.keep_checkpoints.unwrap_or(keep.keep_checkpoints).max(1);
        let on_device_lost = if self.retry { OnDeviceLost::Retry } else { OnDeviceLost::Stop };
        Ok(SupervisorOptions { keep, on_device_lost })
    }
}

/// The adapter asked for, else that of the environment, else the best.
pub fn adapter(choice: Option<&str>) -> AdapterChoice {
    choice.map_or_else(AdapterChoice::from_environment, |text| text.parse().unwrap_or_default())
}

/// Trains; returns what there is to say of the run beside its files, as JSON, and what Ctrl-C or the callback raised.
#[pyfunction]
pub fn train(
    py: Python<'_>,
    settings: Settings,
    out: PathBuf,
    data: Option<Arrays<'_>>,
    callback: Option<Py<PyAny>>,
    notice: Py<PyAny>,
    ways: Ways,
) -> PyResult<(String, Option<PyErr>)> {
    let own = Own::new(data.as_ref())?;
    let mut watch = Watch::new(callback);
    let said = py.detach(|| {
        let supervisor = begin(&settings, &out, own, &notice, &ways)?;
        run(supervisor, (&out, &ways), &notice, &mut watch)
    })?;
    Ok((said, watch.raised))
}

/// A sentence for Python's log.
fn tell(notice: &Py<PyAny>, text: &str) {
    // A log that fails is no reason to end a run.
    let _ = Python::attach(|py| notice.call1(py, (text,)));
}

fn begin(
    settings: &Settings,
    out: &std::path::Path,
    own: Own,
    notice: &Py<PyAny>,
    ways: &Ways,
) -> Result<Supervisor, Failure> {
    let options = ways.supervisor()?;
    if ways.resume {
        let prepare = |config: &RunConfig| own.prepare(config);
        let mut notify = |text: &str| tell(notice, text);
        return Ok(Supervisor::resume_with(out, &settings.options()?, options, ways.force, &prepare, &mut notify)?);
    }
    let config = own.named(settings.resolve()?);
    let prepared = own.prepare(&config)?;
    // Opened before anything is written: without an adapter there is no run, and no folder of one.
    adapter(ways.adapter.as_deref()).find()?;
    std::fs::create_dir_all(out).map_err(|source| TrainError::Io { path: out.to_owned(), source })?;
    Ok(Supervisor::with_prepared(out, config, prepared, options)?)
}

/// What is taken from the trained network before it goes.
struct Done {
    adapter: String,
    sentence: String,
    trace: Option<TraceEstimate>,
}

fn finish(trainer: &Trainer<'_>, result: &RunResult, out: &std::path::Path, probes: u32) -> Result<Done, TrainError> {
    trainer.save_weights(out)?;
    let options = TraceOptions { probes, ..TraceOptions::default() };
    let trace = (probes > 0).then(|| trainer.hessian_trace(None, options)).transpose()?;
    Ok(Done { adapter: trainer.gpu().adapter_name().to_owned(), sentence: result.sentence(trainer), trace })
}

fn run(
    mut supervisor: Supervisor,
    (out, ways): (&std::path::Path, &Ways),
    notice: &Py<PyAny>,
    watch: &mut Watch,
) -> Result<String, Failure> {
    let choice = adapter(ways.adapter.as_deref());
    let open = || Ok(Gpu::with_caches(&choice)?);
    let mut observe = |message: Message<'_>| {
        match &message {
            Message::Notice(text) => tell(notice, text),
            Message::Event(event) => {
                let record = |event: &Event| match event {
                    Event::Epoch(record) => serde_json::to_string(record).unwrap_or_default(),
                    Event::Step(_) | Event::Progress { .. } => String::new(),
                };
                return Ok(watch.heard(event, || record(event)));
            }
        }
        Ok(watch.control())
    };
    let mut end = |trainer: &Trainer<'_>, result: &RunResult, _| finish(trainer, result, out, ways.hessian);
    let (result, done) = supervisor.run(&open, false, &mut observe, &mut end)?;
    write_curves(&supervisor, out)?;
    let status = match result.status {
        Status::Finished => "finished",
        Status::Interrupted => "interrupted",
        Status::Diverged { .. } => "diverged",
    };
    let said = json!({
        "status": status, "sentence": done.sentence, "training_data": supervisor.prepared().training_data(),
        "label_noise": supervisor.prepared().label_noise, "adapter": done.adapter, "best": result.best,
        "stopped_early": result.stopped_early, "hessian_trace": done.trace, "resumes_after": supervisor.newest_step(),
    });
    Ok(said.to_string())
}
