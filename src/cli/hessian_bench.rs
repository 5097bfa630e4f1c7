//! What `jostle bench --hessian` prints.

use jostle::{
    analysis::Curvature,
    bench::{HessianReport, PassReport, ProductReport},
    report::Table,
};

use super::train::kernel_times;

/// The columns: the gradient, then the products.
fn passes(report: &HessianReport) -> Vec<(&'static str, &PassReport)> {
    let name = |product: &ProductReport| match product.curvature {
        Curvature::Hessian => "Hessian",
        Curvature::GaussNewton => "Gauss-Newton",
    };
    let products = report.products.iter().map(|product| (name(product), &product.pass));
    [("gradient", &report.gradient)].into_iter().chain(products).collect()
}

pub(super) fn text(report: &HessianReport) -> String {
    let passes = passes(report);
    let row = |name: &str, cell: &dyn Fn(&PassReport) -> String| {
        [name.to_owned()].into_iter().chain(passes.iter().map(|(_, pass)| cell(pass))).collect::<Vec<_>>()
    };
    let ratios = |name: &str, cell: &dyn Fn(&ProductReport) -> String| {
        [name.to_owned(), "1".to_owned()].into_iter().chain(report.products.iter().map(cell)).collect::<Vec<_>>()
    };
    let rows = vec![
        row("calls", &|pass| pass.calls.to_string()),
        row("Mflop of products", &|pass| format!("{:.0}", pass.product_flops as f64 * 1e-6)),
        row("MiB of activations and tangents", &|pass| format!("{:.1}", pass.activation_bytes as f64 / 1_048_576.0)),
        ratios("of the gradient's", &|product| format!("{:.2}", product.memory_ratio)),
        row("ms, median", &|pass| format!("{:.3}", pass.median_ms)),
        ratios("of the gradient's", &|product| match report.rounds {
            0 | 1 => format!("{:.2} (one round: no standard error)", product.time_ratio),
            _ => format!("{:.2} ± {:.2}", product.time_ratio, product.time_ratio_error),
        }),
    ];
    let title = format!("{}, batch {}, f32, on {}", report.model, report.batch, report.adapter);
    let header: Vec<_> = [""].into_iter().chain(passes.iter().map(|(name, _)| *name)).collect();
    let mut text = Table::new(&title, &header, rows).to_text();
    for (name, pass) in passes {
        if let Some(kernels) = &pass.kernels {
            text.push_str(&format!("\n{name}\n{}", kernel_times(kernels)));
        }
    }
    text
}
