//! `jostle compare`

use std::{path::PathBuf, sync::atomic::Ordering};

use jostle::{
    experiments::ComparisonReport,
    noise::Mode,
    train::{Control, Event, MetricsFiles, Prepared, RunConfig, arm_grid, compare},
};

use super::{
    CliError, Context, Exit,
    output::{interrupt_flag, progress, run_folder},
};

/// Options of `jostle compare`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A TOML file with the keys of `jostle train`
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Noise modes, a list such as none,all,layer
    #[arg(long, value_delimiter = ',', default_value = "none,all,layer")]
    modes: Vec<Mode>,
    /// Sigmas of the noisy modes; the configuration's where not given
    #[arg(long, value_delimiter = ',')]
    sigmas: Vec<f64>,
    /// Learning rates; the configuration's where not given
    #[arg(long, value_delimiter = ',')]
    lrs: Vec<f64>,
    /// Seeds per arm: the configuration's seed and those after it
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Estimate the Hessian trace of each trained network with this many probes, 0 for none
    #[arg(long, value_name = "PROBES", default_value_t = 0)]
    hessian: u32,
    /// Folder for the report, the figure, the table and the metrics
    #[arg(long, value_name = "DIR", default_value = "runs/compare")]
    out: PathBuf,
    /// Write into a folder that holds a comparison already
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let config = RunConfig::resolve(args.config.as_deref(), &context.options)?;
    if args.seeds == 0 {
        return Err(CliError::Usage("--seeds: at least 1".to_owned()));
    }
    let out = run_folder(&args.out, "compare.json", args.overwrite)?;
    let gpu = context.gpu()?;
    let arms = arm_grid(&config, &args.modes, &args.sigmas, &args.lrs);
    let seeds: Vec<u64> = (config.seed..config.seed + args.seeds).collect();
    let runs = arms.len() as u64 * args.seeds;
    eprintln!("{} arms x {} seeds on {}", arms.len(), args.seeds, gpu.adapter_name());
    let interrupt = interrupt_flag();
    let bar = progress(0);
    let mut metrics = MetricsFiles::new(&out);
    let mut finish = |trainer: &jostle::train::Trainer<'_>| {
        (args.hessian > 0).then(|| trainer.traces(None, args.hessian)).transpose()
    };
    let results = compare(&gpu, arms, &seeds, &Prepared::load, &mut finish, &mut |arm, seed, event| {
        let name = arm.run_name(seed);
        let file = metrics.file(&name)?;
        match event {
            Event::Progress { step, total } => {
                bar.set_length(runs * total);
                bar.set_position(metrics.finished() * total + step);
                bar.set_message(name);
            }
            Event::Step(record) => file.step(&record)?,
            Event::Epoch(record) => file.epoch(&record)?,
        }
        Ok(if interrupt.load(Ordering::SeqCst) { Control::Stop } else { Control::Continue })
    })?;
    bar.finish_and_clear();
    let interrupted = interrupt.load(Ordering::SeqCst);
    let summary = ComparisonReport { config: &config, adapter: gpu.adapter_name().to_owned(), results: &results };
    let table = summary.table();
    summary.write(&out)?;
    let text = format!("{}\n{}\nwritten to {}", table.to_text(), summary.differences().to_text(), out.display());
    context.print(&summary.json(), &text)?;
    Ok(if interrupted { Exit::Interrupted } else { Exit::Done })
}
