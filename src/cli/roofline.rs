//! `jostle bench --roofline`: the text and the figure.

use jostle::{
    bench::{Against, Bandwidth, Bound, Ceilings, KernelLine, RooflineReport},
    report::{AxisScale, Figure, Mark, Panel, Series, Table},
};

use super::output::human_bytes;

/// Below this share of the step a kernel is left out of the figure: it would only stretch the axes.
const LEAST_SHARE: f64 = 1e-3;

/// A line's kernels; of many the first and the last, so that which product it is has room beside them.
fn kernel_name(line: &KernelLine) -> String {
    match line.kernel.split(" + ").collect::<Vec<_>>()[..] {
        [first, _, .., last] => format!("{first} … {last}"),
        _ => line.kernel.clone(),
    }
}

/// A number with three digits that count.
fn digits(value: f64) -> String {
    let decimals = if value.is_finite() && value > 0.0 { (2.0 - value.log10().floor()).clamp(0.0, 4.0) } else { 0.0 };
    format!("{value:.*}", decimals as usize)
}

/// The ceilings, the kernels and the step, human-readable.
pub(super) fn text(report: &RooflineReport) -> String {
    let mut text = ceilings(&report.adapter, &report.ceilings).to_text();
    text.push('\n');
    if report.kernels.is_empty() {
        text.push_str("The adapter has no timestamp queries: its kernels cannot be timed one by one.\n");
    } else {
        text.push_str(&kernels(report).to_text());
    }
    text.push_str(&format!(
        "\n{} ms a step, {} ms of it in kernels timed alone, {} ms of the host's time beside the device's\n",
        digits(report.step_ms),
        digits(report.kernels_ms),
        digits(report.host_ms)
    ));
    text
}

fn ceilings(adapter: &str, ceilings: &Ceilings) -> Table {
    let row = |name: String, value: f64| vec![name, digits(value)];
    let mut rows = vec![row("f32 multiply-adds, GFLOP/s".to_owned(), ceilings.f32_gflops)];
    rows.extend(ceilings.f16_gflops.map(|rate| row("f16 multiply-adds, GFLOP/s".to_owned(), rate)));
    for rung in &ceilings.bandwidth {
        let name = format!("{} of operands, GB/s ({})", human_bytes(rung.bytes), rung.way);
        rows.push(row(name, rung.gigabytes_per_second));
    }
    rows.push(row("a dispatch that does nothing, us".to_owned(), ceilings.dispatch_us));
    rows.push(row("a submit that does nothing, us".to_owned(), ceilings.submit_us));
    let clock = if ceilings.timestamps { "timestamp queries" } else { "the clock" };
    Table::new(&format!("Ceilings of {adapter}, by {clock}"), &["", "reached"], rows)
}

fn kernels(report: &RooflineReport) -> Table {
    let headers =
        ["#", "kernel", "product", "dispatches", "ms", "%", "GFLOP/s", "GB/s", "FLOP/B", "bound", "% of ceiling"];
    let rows = report.kernels.iter().enumerate().map(|(index, line)| {
        let cell = |show: fn(&Against) -> String| line.against.as_ref().map_or("-".to_owned(), show);
        // What only moves bytes has no rate of operations.
        let rate = |value: fn(&Against) -> f64| match &line.against {
            Some(against) if against.work.flops > 0 => digits(value(against)),
            _ => "-".to_owned(),
        };
        vec![
            (index + 1).to_string(),
            kernel_name(line),
            line.product.clone().unwrap_or_default(),
            line.dispatches.to_string(),
            digits(line.ms),
            format!("{:.1}", 100.0 * line.share),
            rate(|against| against.gflops),
            cell(|against| digits(against.gigabytes_per_second)),
            rate(|against| against.intensity),
            cell(|against| against.bound.to_string()),
            cell(|against| against.percent_of_ceiling.map_or("-".to_owned(), |percent| format!("{percent:.1}"))),
        ]
    });
    let title = format!(
        "{}, batch {}, {}, noise {}: a step's kernels, medians of {} steps",
        report.model, report.batch, report.precision, report.noise, report.profiled_steps
    );
    Table::new(&title, &headers, rows.collect())
}

/// Kernels as marks under the adapter's roofs, both axes logarithmic.
pub(super) fn figure(report: &RooflineReport) -> Figure {
    let marks: Vec<_> = report.kernels.iter().enumerate().filter_map(|(index, line)| mark(index + 1, line)).collect();
    let least = marks.iter().map(|mark| mark.x).fold(0.1, f64::min) / 1.5;
    let most = marks.iter().map(|mark| mark.x).fold(100.0, f64::max) * 1.5;
    Figure {
        title: format!("{}, batch {} on {}", report.model, report.batch, report.adapter),
        caption: "Kernels of a training step under the ceilings that the adapter was seen to reach. A mark's area is its share \
                  of the step; what only moves bytes has no place here, nor has what takes less than a thousandth."
            .to_owned(),
        panels: vec![Panel {
            title: "Roofline of a training step".to_owned(),
            x_label: "operations per byte".to_owned(),
            y_label: "GFLOP/s".to_owned(),
            x_scale: AxisScale::Log,
            y_scale: AxisScale::Log,
            series: roofs(&report.ceilings, [least, most]),
            marks,
            ..Panel::default()
        }],
    }
}

fn mark(number: usize, line: &KernelLine) -> Option<Mark> {
    let against = line.against.filter(|against| against.work.flops > 0 && line.share >= LEAST_SHARE)?;
    let product = line.product.as_ref().map_or(String::new(), |product| format!(", {product}"));
    let group = match against.bound {
        Bound::Compute => "bound by operations",
        Bound::Memory => "bound by memory",
        Bound::Latency => "bound by the dispatch",
        Bound::Matrices => "on cooperative matrices",
    };
    Some(Mark {
        x: against.intensity,
        y: against.gflops,
        share: line.share,
        number,
        label: format!("{}{product}", kernel_name(line)),
        note: format!("{:.1} %", 100.0 * line.share),
        group: group.to_owned(),
    })
}

/// The rates as horizontal lines, and the bandwidths of memory and of the fastest cache as diagonals up to them.
fn roofs(ceilings: &Ceilings, [least, most]: [f64; 2]) -> Vec<Series> {
    let rates: Vec<_> = [Some(("f32", ceilings.f32_gflops)), ceilings.f16_gflops.map(|rate| ("f16", rate))]
        .into_iter()
        .flatten()
        .collect();
    let top = rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let memory = ceilings.bandwidth.last();
    let fastest = ceilings.bandwidth.iter().max_by(|a, b| a.gigabytes_per_second.total_cmp(&b.gigabytes_per_second));
    let steepest = fastest.map_or(f64::INFINITY, |rung| rung.gigabytes_per_second);
    let flat = |(name, rate): &(&str, f64)| {
        let start = (rate / steepest).clamp(least, most);
        Series::line(&format!("{name} {} GFLOP/s", digits(*rate)), [(start, *rate), (most, *rate)])
    };
    let diagonal = |(name, rung): (&str, &Bandwidth)| {
        let rate = rung.gigabytes_per_second;
        let end = (top / rate).clamp(least, most);
        let label = format!("{name} {} GB/s ({})", digits(rate), human_bytes(rung.bytes));
        Series::line(&label, [(least, least * rate), (end, end * rate)])
    };
    let cache = fastest.filter(|rung| Some(*rung) != memory);
    let slopes = memory.map(|rung| ("memory", rung)).into_iter().chain(cache.map(|rung| ("cache", rung)));
    rates.iter().map(flat).chain(slopes.map(diagonal)).collect()
}
