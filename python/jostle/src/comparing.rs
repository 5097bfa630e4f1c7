//! `compare` and `experiment`.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use jostle::{
    experiments::{
        Choices, ComparisonReport, Definition, ExperimentError, Provenance, Surroundings, run as run_experiment,
    },
    gpu::Gpu,
    noise::Mode,
    train::{Control, Event, MetricsFiles, RunConfig, TrainError, Trainer, arm_grid, compare as compare_arms},
};
use pyo3::prelude::*;
use serde_json::json;

use crate::{
    arrays::{Arrays, Own},
    failure::Failure,
    settings::Settings,
    training::adapter,
    watch::Watch,
};

/// What is compared.
#[derive(Debug, FromPyObject)]
pub struct Grid {
    #[pyo3(item)]
    modes: Vec<String>,
    #[pyo3(item)]
    sigmas: Vec<f64>,
    #[pyo3(item)]
    lrs: Vec<f64>,
    #[pyo3(item)]
    seeds: u64,
    /// Probes of the traces at the end of each run.
    #[pyo3(item)]
    hessian: u32,
    #[pyo3(item)]
    adapter: Option<String>,
}

/// Runs the arms; JSON of what they found with its tables and figure, and what Ctrl-C or the callback raised.
#[pyfunction]
pub fn compare(
    py: Python<'_>,
    settings: Settings,
    grid: Grid,
    data: Option<Arrays<'_>>,
    out: Option<PathBuf>,
    callback: Option<Py<PyAny>>,
) -> PyResult<(String, Option<PyErr>)> {
    let own = Own::new(data.as_ref())?;
    let mut watch = Watch::new(callback);
    let said = py.detach(|| run_arms(&settings, &grid, &own, out, &mut watch))?;
    Ok((said, watch.raised))
}

fn run_arms(
    settings: &Settings,
    grid: &Grid,
    own: &Own,
    out: Option<PathBuf>,
    watch: &mut Watch,
) -> Result<String, Failure> {
    let config = own.named(settings.resolve()?);
    if grid.seeds == 0 {
        return Err(Failure::config("seeds: at least 1"));
    }
    let modes: Result<Vec<Mode>, _> = grid.modes.iter().map(|mode| mode.parse()).collect();
    let modes = modes.map_err(|error| Failure::config(format!("modes: {error}")))?;
    let arms = arm_grid(&config, &modes, &grid.sigmas, &grid.lrs);
    let seeds: Vec<u64> = (config.seed..config.seed + grid.seeds).collect();
    let gpu = Gpu::with_caches(&adapter(grid.adapter.as_deref()))?;
    if let Some(out) = &out {
        std::fs::create_dir_all(out).map_err(|source| TrainError::Io { path: out.clone(), source })?;
    }
    let mut files = out.as_deref().map(MetricsFiles::new);
    let probes = grid.hessian;
    let mut finish = |trainer: &Trainer<'_>| (probes > 0).then(|| trainer.traces(None, probes)).transpose();
    let prepare = |config: &RunConfig| own.prepare(config);
    let results = compare_arms(&gpu, arms, &seeds, &prepare, &mut finish, &mut |arm, seed, event| {
        if let Some(files) = &mut files {
            let file = files.file(&arm.run_name(seed))?;
            match &event {
                Event::Progress { .. } => {}
                Event::Step(record) => file.step(record)?,
                Event::Epoch(record) => file.epoch(record)?,
            }
        }
        Ok(watch.heard(&event, || match &event {
            Event::Epoch(record) => json!({ "arm": arm.label, "seed": seed, "record": record }).to_string(),
            Event::Progress { .. } | Event::Step(_) => String::new(),
        }))
    })?;
    let adapter = gpu.adapter_name().to_owned();
    let report = ComparisonReport { config: &config, adapter, results: &results, rules: None };
    if let Some(out) = &out {
        report.write(out)?;
    }
    let (table, differences) = (report.table(), report.differences());
    let said = json!({
        "report": report.json(), "differences": differences, "interrupted": watch.control() == Control::Stop,
        "html": [table.to_html(), differences.to_html()], "svg": report.figure().to_svg()?,
    });
    Ok(said.to_string())
}

/// What an experiment is given.
#[derive(Debug, FromPyObject)]
pub struct Subjects {
    #[pyo3(item)]
    scale: Option<String>,
    #[pyo3(item)]
    settings: Vec<String>,
    #[pyo3(item)]
    problem: Option<PathBuf>,
    #[pyo3(item)]
    run: Option<PathBuf>,
    #[pyo3(item)]
    adapter: Option<String>,
    /// The call, for the report.
    #[pyo3(item)]
    command: String,
}

/// Runs an experiment and writes its report into a folder; its verdict and claims as JSON, with the figures. Ctrl-C ends it
/// without a report.
#[pyfunction]
pub fn experiment(py: Python<'_>, name: String, subjects: Subjects, out: PathBuf) -> PyResult<String> {
    let mut watch = Watch::new(None);
    let found = py.detach(|| run_one(&name, &subjects, &out, &mut watch));
    match (found, watch.raised) {
        (Err(_), Some(raised)) => Err(raised),
        (found, _) => Ok(found?),
    }
}

fn run_one(name: &str, subjects: &Subjects, out: &Path, watch: &mut Watch) -> Result<String, Failure> {
    let definition = Definition::find(name)?;
    let gpu = Gpu::with_caches(&adapter(subjects.adapter.as_deref()))?;
    std::fs::create_dir_all(out).map_err(|source| TrainError::Io { path: out.to_owned(), source })?;
    let started = Instant::now();
    let choices = Choices { scale: subjects.scale.clone(), overrides: subjects.settings.clone() };
    let mut around = Surroundings {
        gpu: &gpu,
        problem: subjects.problem.clone(),
        run: subjects.run.clone(),
        out: out.to_owned(),
        progress: &mut |_, _| {
            watch.look();
            if watch.control() == Control::Stop { Err(ExperimentError::Stopped) } else { Ok(()) }
        },
    };
    let outcome = run_experiment(&definition, &choices, &mut around)?;
    let by = Provenance {
        adapter: format!("{}, {}", gpu.adapter_name(), gpu.driver()),
        command: subjects.command.clone(),
        seconds: started.elapsed().as_secs_f64(),
    };
    outcome.write(out, &definition, &by)?;
    let figures: Result<Vec<_>, _> =
        outcome.figures.iter().map(|(stem, figure)| Ok::<_, Failure>((stem, figure.to_svg()?))).collect();
    let said = json!({
        "name": name, "title": definition.title, "verdict": outcome.verdict(), "claims": outcome.claims,
        "summary": outcome.summary(), "notes": outcome.notes, "seconds": by.seconds, "metrics": outcome.metrics,
        "html": outcome.claims_table().to_html(), "figures": figures?,
    });
    Ok(said.to_string())
}

/// The experiments there are: name, title and sizes, as JSON.
#[pyfunction]
pub fn experiments() -> PyResult<String> {
    let all = Definition::all().map_err(Failure::from)?;
    let one = |definition: &Definition| {
        let scales: Vec<_> = definition.scales.iter().map(|scale| [&scale.name, &scale.time]).collect();
        json!({ "name": definition.name, "title": definition.title, "scales": scales })
    };
    Ok(json!(all.iter().map(one).collect::<Vec<_>>()).to_string())
}
