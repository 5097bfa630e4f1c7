//! The report as text: the table at the end of a run, and `RESULTS.md`.

use std::fmt::Write;

use crate::report::Table;

use super::{
    Finding, GoalVerdict, Piece, PieceStatus, Report, Stage,
    measured::{Adapter, Roofline, Step, Torch, TorchLine},
};

/// A variant is worth naming that is faster than the table's choice by so much.
const FASTER: f64 = 1.03;

/// Kernels of a roofline that are listed, and the share of the kernels' time from which all are.
const KERNELS: usize = 15;
const SHARE: f64 = 0.01;

fn strings<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
}

impl Report {
    /// What passed, each figure beside its goal, what was left out and why: for a terminal.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = self.stages_table().to_text() + "\n" + &self.goals_table().to_text();
        for (title, lines) in [("FAILED", &self.failures), ("left out", &self.left_out)] {
            lines.iter().for_each(|line| text.push_str(&format!("\n{title}: {line}")));
        }
        let verdict = if self.correct() { "all correctness passed" } else { "NOT all correctness passed" };
        text + &format!("\n\n{verdict}; {:.0} of {:.0} s\n", self.run.seconds, self.run.budget)
    }

    /// All of it.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let run = &self.run;
        // The one that was measured; where none was yet, the first that there is.
        let measured = self.rooflines().next().map(|record| format!("{}, {}", record.adapter, record.driver));
        let first = || self.adapters().next().map(|record| format!("{}, {}", record.name, record.driver));
        let name = measured.or_else(first).unwrap_or_else(|| "no adapter".to_owned());
        let mut text = format!("# {name}\n\n{}, {:.0} of {:.0} s", run.started, run.seconds, run.budget);
        text += if run.toy { ", a rehearsal: toy shapes, so no figure means anything" } else { "" };
        text += if run.finished {
            ".\n"
        } else {
            ". Not finished: what follows is what was done before a cut, or so far.\n"
        };
        run.machine.iter().for_each(|line| text += &format!("- {line}\n"));
        let mut section = |title: &str, body: String| {
            if !body.is_empty() {
                // Writing to a string cannot fail.
                let _ = write!(text, "\n## {title}\n\n{body}");
            }
        };
        section("Stages", self.stages_table().to_markdown());
        section("Goals", self.goals_table().to_markdown());
        section("Failures", self.failures.iter().map(|line| format!("- {line}\n")).collect());
        section("Left out", self.left_out.iter().map(|line| format!("- {line}\n")).collect());
        section("Adapters", markdown(self.adapters_table()));
        section("Tests", markdown(self.tests_table()));
        section("Steps", markdown(self.steps_table()));
        section("Products, and the variants that beat the table's choice", markdown(self.variants_table()));
        section("Peers", markdown(self.torch_table()));
        self.rooflines().for_each(|record| section(&roofline_title(record), roofline(record)));
        section("Experiment", self.pieces.iter().map(claims).collect());
        text
    }

    fn adapters(&self) -> impl Iterator<Item = &Adapter> {
        self.pieces.iter().flat_map(|piece| if let Finding::Adapters(all) = &piece.finding { &all[..] } else { &[] })
    }

    fn stages_table(&self) -> Table {
        let row = |line: &super::StageLine| {
            let (letter, title) = (line.stage.letter(), line.stage.title());
            vec![letter.to_owned(), title.to_owned(), line.result.clone(), format!("{:.1}", line.seconds)]
        };
        Table::new("Stages", &["", "stage", "result", "s"], self.stages.iter().map(row).collect())
    }

    fn goals_table(&self) -> Table {
        let row = |line: &super::GoalLine| {
            let verdict = match line.verdict {
                GoalVerdict::Met => "met",
                GoalVerdict::Missed => "MISSED",
                GoalVerdict::Undecided => "undecided",
                GoalVerdict::NotMeasured => "-",
            };
            vec![line.goal.clone(), line.bar.clone(), line.measured.clone(), verdict.to_owned()]
        };
        Table::new("Goals", &["goal", "bar", "measured", ""], self.goals.iter().map(row).collect())
    }

    fn adapters_table(&self) -> Table {
        let rows = self.adapters().map(|record| {
            let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
            let [least, most] = record.subgroup_sizes;
            vec![
                format!("{} {}, {}, {}, {}", record.index, record.name, record.kind, record.backend, record.driver),
                format!("{}, {}", mib(record.max_buffer_bytes), mib(record.max_binding_bytes)),
                format!("{} KiB, {}", record.workgroup_bytes >> 10, record.workgroup_invocations),
                format!("{least} to {most}"),
                record.features.join(" "),
                record.cooperative_matrices.join(", "),
            ]
        });
        let headers = ["adapter", "buffer, binding", "workgroup", "subgroups", "features", "cooperative matrices"];
        Table::new("", &headers, rows.collect())
    }

    fn tests_table(&self) -> Table {
        let rows =
            self.pieces.iter().filter(|piece| matches!(piece.stage, Stage::Correctness | Stage::Trace)).map(|piece| {
                let count = |record: fn(&super::TestRun) -> usize| {
                    piece.tests().map_or("-".to_owned(), |run| record(run).to_string())
                };
                let result = match piece.status {
                    PieceStatus::Passed => "passed".to_owned(),
                    PieceStatus::Failed => format!("FAILED: {}", piece.note),
                    PieceStatus::Cut => format!("CUT: {}", piece.note),
                    PieceStatus::Skipped => format!("skipped: {}", piece.note),
                };
                let seconds = format!("{:.1}", piece.seconds);
                let counts = [count(|run| run.passed.len()), count(|run| run.failed.len()), count(|run| run.ignored)];
                [piece.title.clone()].into_iter().chain(counts).chain([seconds, result]).collect()
            });
        Table::new("", &["room or test", "passed", "failed", "ignored", "s", "result"], rows.collect())
    }

    fn steps_table(&self) -> Table {
        let rows = self.steps().map(|record| {
            let torch = self.torch().filter(|torch| torch.is_like(record));
            let fastest = torch.map(|torch| torch.median_ms).min_by(f64::total_cmp);
            vec![
                format!("{}, batch {}", record.model, record.batch),
                record.precision.clone(),
                record.noise.clone(),
                format!("{:.3}", record.clean_median_ms),
                format!("{:.3}", record.median_ms),
                format!("{:+.2} ± {:.2}", record.noise_cost_percent, record.noise_cost_error),
                number(fastest, 3),
                number(fastest.map(|ms| ms / record.median_ms), 2),
                format!("{:.3}", record.host_ms),
                format!("{:.0}", record.first_step_ms),
            ]
        });
        let headers = [
            "model",
            "precision",
            "noise",
            "ms without noise",
            "ms with",
            "cost of noise %",
            "PyTorch eager ms with",
            "ratio",
            "host ms",
            "first step ms",
        ];
        Table::new("", &headers, rows.collect())
    }

    fn variants_table(&self) -> Table {
        let all = self.variants().flat_map(|record| record.operations.iter().map(move |operation| (record, operation)));
        let rows = all.filter_map(|(record, operation)| {
            let (chosen, fastest) = (operation.chosen()?, operation.fastest()?);
            let ratio = chosen.median_ms / fastest.median_ms;
            // Square products are listed in any case: they are what peers are compared with.
            let square = operation.operation.starts_with("Forward m 4096, n 4096");
            (ratio > FASTER || square).then(|| {
                vec![
                    operation.operation.clone(),
                    record.precision.clone(),
                    chosen.variant.clone(),
                    format!("{:.3}", chosen.median_ms),
                    number(chosen.gflops, 0),
                    fastest.variant.clone(),
                    format!("{:.3}", fastest.median_ms),
                    number(fastest.gflops, 0),
                    format!("{ratio:.2}"),
                ]
            })
        });
        let headers = ["product", "precision", "chosen", "ms", "GFLOP/s", "fastest", "ms", "GFLOP/s", "ratio"];
        Table::new("", &headers, rows.collect())
    }

    fn torch_table(&self) -> Table {
        let rows = self.pieces.iter().flat_map(Piece::torch).map(|line| match line {
            TorchLine::Timed(record) => vec![
                record.what(),
                record.precision.clone(),
                record.mode(),
                format!("{:.3}", record.median_ms),
                number(record.gflops, 0),
                format!("{:.0}", record.first_step_ms),
                format!("{} {}, {}", record.peer, record.version, record.adapter),
            ],
            TorchLine::Failed { options, failed } => strings([options, "", "", "-", "-", "-", failed]),
        });
        let headers = ["what", "precision", "mode", "ms", "GFLOP/s", "first ms", "peer"];
        Table::new("", &headers, rows.collect())
    }
}

fn markdown(table: Table) -> String {
    if table.rows.is_empty() { String::new() } else { table.to_markdown() }
}

impl Torch {
    fn what(&self) -> String {
        match self.matmul {
            Some(side) => format!("product {side}"),
            None => format!("{}, batch {}, noise {}", self.model, self.batch, self.noise),
        }
    }

    fn mode(&self) -> String {
        let compile = self.compile.as_ref().map_or("eager".to_owned(), |mode| format!("compile {mode}"));
        compile + if self.channels_last { ", channels last" } else { "" }
    }

    /// Whether it is the eager counterpart of a step of ours.
    fn is_like(&self, step: &Step) -> bool {
        let precision = if step.precision == "f16" { "autocast" } else { "f32" };
        let same = (&self.model, self.batch, &self.noise) == (&step.model, step.batch, &step.noise);
        same && self.precision.starts_with(precision) && self.compile.is_none()
    }
}

fn roofline_title(record: &Roofline) -> String {
    format!("Roofline: {}, batch {}, {}", record.model, record.batch, record.precision)
}

fn roofline(record: &Roofline) -> String {
    let memory = record.ceilings.bandwidth.last().map(|rung| rung.gigabytes_per_second);
    let mut text = format!(
        "{:.2} ms a step, {:.2} ms of it in kernels timed alone, {:.2} ms of the host's. Ceilings: {:.0} GFLOP/s f32, {} f16, \
         {} GB/s from memory, {:.1} us a dispatch, {:.0} us a submit.\n\n",
        record.step_ms,
        record.kernels_ms,
        record.host_ms,
        record.ceilings.f32_gflops,
        number(record.ceilings.f16_gflops, 0),
        number(memory, 0),
        record.ceilings.dispatch_us,
        record.ceilings.submit_us
    );
    let listed = record.kernels.iter().enumerate().filter(|(index, line)| {
        *index < KERNELS || line.share.is_some_and(|share| share >= SHARE) || line.kernel.starts_with("batch_norm")
    });
    let rows = listed.map(|(_, line)| {
        vec![
            line.kernel.clone(),
            line.product.clone().unwrap_or_default(),
            line.dispatches.to_string(),
            format!("{:.3}", line.ms),
            number(line.share.map(|share| 100.0 * share), 1),
            number(line.gflops, 0),
            number(line.gigabytes_per_second, 0),
            line.bound.clone().unwrap_or_default(),
            number(line.percent_of_ceiling, 1),
        ]
    });
    let headers = ["kernel", "product", "dispatches", "ms", "%", "GFLOP/s", "GB/s", "bound", "% of ceiling"];
    text += &markdown(Table::new("", &headers, rows.collect()));
    text
}

fn claims(piece: &Piece) -> String {
    let Finding::Experiment(record) = &piece.finding else { return String::new() };
    let line = |claim: &super::measured::Claim| {
        let interval =
            claim.interval.map_or(String::new(), |[low, high]| format!(" ({} to {})", number(low, 3), number(high, 3)));
        format!("- {}: {}{interval}: {}\n", claim.statement, number(claim.measured, 3), claim.verdict)
    };
    format!("{}: {}.\n\n{}", piece.title, record.verdict, record.claims.iter().map(line).collect::<String>())
}
