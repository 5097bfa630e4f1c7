//! `jostle compare`

use std::{
    ops::Range,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use jostle::{
    experiments::{ComparisonReport, RuleComparison},
    gpu::Gpu,
    noise::Mode,
    train::{
        Arm, Choice, Control, Equal, Event, Given, GridKey, MetricsFiles, Prepared, RuleArm, RuleChoices, RunConfig,
        arm_grid, choose, compare, grid_seeds, rule_arms,
    },
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
    /// Rules in the place of noise modes, a list such as noise:none,noise:layer,sam,nso,ivon; each with its published
    /// defaults for what is not given, the first being what the others are compared with
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["modes", "sigmas", "lrs"])]
    rules: Vec<RuleArm>,
    /// What runs of different rules have in common: epochs, or compute for as many gradient evaluations, each arm's epochs
    /// divided by those of its step
    #[arg(long, value_name = "WHAT", default_value_t = Equal::Epochs, requires = "rules")]
    equal: Equal,
    /// Values that a key is chosen among, such as rho=0.02,0.05, for each arm that has it, by the validation loss of runs with
    /// seeds of their own; may be repeated, and then every combination is tried
    #[arg(long, value_name = "KEY=V1,V2", requires = "rules")]
    grid: Vec<GridKey>,
    /// Seeds to choose by, from 1000000 on
    #[arg(long, value_name = "N", default_value_t = 1, requires = "grid")]
    grid_seeds: u64,
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

/// What is to be run.
struct Planned {
    /// What the arms have in common.
    config: RunConfig,
    /// Arms of noise modes.
    modes: Vec<Arm>,
    /// Arms of rules, of which something may be to choose.
    rules: Vec<RuleChoices>,
    seeds: Range<u64>,
}

impl Args {
    fn planned(&self, context: &Context) -> Result<Planned, CliError> {
        let given = Given::read(self.config.as_deref(), &context.options)?;
        let config = if self.rules.is_empty() { given.resolved()? } else { given.config().clone() };
        let usage = |wrong: bool, message: &str| if wrong { Err(CliError::Usage(message.to_owned())) } else { Ok(()) };
        usage(self.seeds == 0, "--seeds: at least 1")?;
        usage(self.grid_seeds == 0, "--grid-seeds: at least 1")?;
        let end = config.seed.checked_add(self.seeds);
        let end = end.ok_or_else(|| CliError::Usage("--seeds: the last one is too large".to_owned()))?;
        let seeds = config.seed..end;
        if self.rules.is_empty() {
            let modes = arm_grid(&config, &self.modes, &self.sigmas, &self.lrs);
            return Ok(Planned { config, modes, rules: Vec::new(), seeds });
        }
        usage(context.options.gives("rule"), "--rule: the rules are those of --rules")?;
        let chooses = !self.grid.is_empty() && config.validation.is_none();
        usage(chooses, "--grid: needs --validation, a part of the training data to choose by")?;
        let mut rules = rule_arms(&given, &self.rules, &self.grid)?;
        if self.equal == Equal::Compute {
            self.equal.adjust(&mut rules, &Prepared::load(&config)?.model)?;
        }
        Ok(Planned { config, modes: Vec::new(), rules, seeds })
    }
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let Planned { config, modes, rules, seeds } = args.planned(context)?;
    let out = run_folder(&args.out, "compare.json", args.overwrite)?;
    let gpu = context.gpu()?;
    let interrupt = interrupt_flag();
    let (arms, rules) = if rules.is_empty() {
        (modes, None)
    } else {
        let grid_seeds = grid_seeds(&seeds, if args.grid.is_empty() { 0 } else { args.grid_seeds });
        let Some(choices) = choose_values(&gpu, &rules, &grid_seeds, &interrupt)? else {
            eprintln!("stopped before all values were chosen, so nothing was compared");
            return Ok(Exit::Interrupted);
        };
        let arms = chosen_arms(rules, &choices);
        (arms, Some(RuleComparison { equal: args.equal, grid_seeds, choices }))
    };
    if let Some(rules) = rules.as_ref().filter(|_| arms.is_empty()) {
        let text = format!("every run to choose by diverged, in each arm: {}", rules.left_out().join(", "));
        context.print(&rules.json(), &text)?;
        return Ok(Exit::Diverged);
    }
    let seeds: Vec<u64> = seeds.collect();
    let runs = (arms.len() * seeds.len()) as u64;
    eprintln!("{} arms x {} seeds on {}", arms.len(), seeds.len(), gpu.adapter_name());
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
    let adapter = gpu.adapter_name().to_owned();
    let summary = ComparisonReport { config: &config, adapter, results: &results, rules: rules.as_ref() };
    summary.write(&out)?;
    let mut tables = vec![summary.table(), summary.differences()];
    if let Some(rules) = &rules {
        tables.push(rules.lengths(&results));
        tables.extend(rules.grid());
    }
    let tables: String = tables.iter().map(|table| table.to_text() + "\n").collect();
    context.print(&summary.json(), &format!("{tables}written to {}", out.display()))?;
    Ok(if interrupted { Exit::Interrupted } else { Exit::Done })
}

/// Chooses what is to be chosen; none where that was interrupted.
fn choose_values(
    gpu: &Gpu,
    rules: &[RuleChoices],
    seeds: &[u64],
    interrupt: &AtomicBool,
) -> Result<Option<Vec<Choice>>, CliError> {
    let several = rules.iter().filter(|arm| arm.options.len() > 1);
    let runs = several.map(|arm| arm.options.len()).sum::<usize>() * seeds.len();
    if runs > 0 {
        eprintln!("{runs} runs to choose values by, on {}", gpu.adapter_name());
    }
    let bar = progress(0);
    let choices = choose(gpu, rules, seeds, &Prepared::load, &mut |arm, seed, event| {
        if let Event::Progress { step, total } = event {
            bar.set_length(total);
            bar.set_position(step);
            bar.set_message(format!("{}, seed {seed}", arm.label));
        }
        Ok(if interrupt.load(Ordering::SeqCst) { Control::Stop } else { Control::Continue })
    })?;
    bar.finish_and_clear();
    Ok(choices)
}

/// The arms as they were chosen, without those of which every run diverged.
fn chosen_arms(rules: Vec<RuleChoices>, choices: &[Choice]) -> Vec<Arm> {
    let arm = |(mut arm, choice): (RuleChoices, &Choice)| {
        let config = arm.options.swap_remove(choice.chosen?).config;
        Some(Arm { label: arm.arm.to_string(), config })
    };
    rules.into_iter().zip(choices).filter_map(arm).collect()
}
