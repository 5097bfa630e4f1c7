//! `jostle adapters`

use jostle::{gpu::list_adapters, kernels::AdapterClass, report::Table};

use super::{CliError, Context, Exit, output::human_bytes};

pub(super) fn run(context: &Context) -> Result<Exit, CliError> {
    let adapters = list_adapters();
    if adapters.is_empty() {
        return Err(jostle::gpu::GpuError::NoAdapter.into());
    }
    let headers = [
        "#",
        "name",
        "kind",
        "backend",
        "driver",
        "buffer",
        "binding",
        "workgroup",
        "subgroup",
        "class",
        "features",
        "cooperative matrices",
    ];
    let rows = adapters
        .iter()
        .map(|a| {
            vec![
                a.index.to_string(),
                a.name.clone(),
                a.kind.to_owned(),
                a.backend.clone(),
                a.driver.clone(),
                human_bytes(a.max_buffer_bytes),
                human_bytes(a.max_binding_bytes),
                format!("{}, {}", human_bytes(a.workgroup_bytes.into()), a.workgroup_invocations),
                format!("{}-{}", a.subgroup_sizes[0], a.subgroup_sizes[1]),
                AdapterClass::for_adapter(a).to_string(),
                a.features.join(" "),
                if a.cooperative_matrices.is_empty() { "-".to_owned() } else { a.cooperative_matrices.join(", ") },
            ]
        })
        .collect();
    let table = Table::new("Adapters", &headers, rows);
    context.print(&adapters, &table.to_text())?;
    Ok(Exit::Done)
}
