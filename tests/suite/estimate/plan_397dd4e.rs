//! The estimate of a ResNet-18 step at commit 397dd4e (batch 128, an H100) beside what an audit of that commit's kernels had
//! estimated by hand before any GPU was measured: the dispatches are in `assets/plans`, batch norm's and the tiles' depth by
//! the formulas of that commit.

use std::{collections::BTreeMap, fs};

use crate::common::places::root;
use jostle::{
    estimate::{Dispatch, Estimate, GpuDescription},
    gpu::{ProductTile, Work},
};

/// A line of the file: so many dispatches of a kernel.
struct Planned {
    count: f64,
    kernel: String,
    dispatch: Dispatch,
}

fn planned(precision: &str) -> Vec<Planned> {
    let path = root().join(format!("assets/plans/397dd4e-resnet18-{precision}.csv"));
    let text = fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(|line| parsed(&line.split(',').collect::<Vec<_>>())).collect()
}

fn parsed(cells: &[&str]) -> Planned {
    let number = |column: usize| cells[column].parse::<u64>().unwrap();
    let small = |column: usize| number(column) as u32;
    let tile = || ProductTile {
        sides: [small(7), small(8)],
        staged: small(7) + small(8),
        share: [small(9), small(10)],
        depth: small(11),
        element_bytes: if number(12) > 0 { 2 } else { 4 },
        by_matrices: number(12) > 0,
    };
    Planned {
        count: number(0) as f64,
        kernel: cells[1].to_owned(),
        dispatch: Dispatch {
            workgroups: number(2),
            threads: small(3),
            chain: number(4) as usize,
            work: Work { flops: number(5), bytes: number(6) },
            tile: (!cells[7].is_empty()).then(tile),
        },
    }
}

/// Dispatches and milliseconds of each kernel.
fn by_kernel(precision: &str) -> BTreeMap<String, (f64, f64)> {
    let h100 = GpuDescription::named("h100").unwrap();
    let mut all: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for Planned { count, kernel, dispatch } in planned(precision) {
        let (dispatches, ms) = all.entry(kernel).or_default();
        *dispatches += count;
        *ms += count * 1e3 * Estimate::new(&h100, &dispatch).seconds();
    }
    all
}

/// Whether it is within a quarter of a range.
fn is_near(value: f64, [least, most]: [f64; 2]) -> bool {
    (0.75 * least..=1.25 * most).contains(&value)
}

#[test]
fn batch_norm_takes_what_the_audit_says() {
    let kernels = by_kernel("f32");
    let audit = [
        ("batch_norm_moments", [1.1, 4.4]),
        ("batch_norm_finish", [0.7, 1.0]),
        ("batch_norm_moments backward", [0.6, 2.4]),
        ("batch_norm_gradient_finish", [0.5, 0.85]),
    ];
    for (kernel, range) in audit {
        let (dispatches, ms) = kernels[kernel];
        assert!(dispatches == 20.0 && is_near(ms, range), "{kernel}: {ms} ms, expected {range:?}");
    }
}

#[test]
fn the_step_takes_what_the_audit_says() {
    for (precision, dispatches, range) in [("f32", 503.0, [18.0, 22.0]), ("f16", 248.0, [10.0, 14.0])] {
        let kernels = by_kernel(precision);
        let ms: f64 = kernels.values().map(|(_, ms)| ms).sum();
        assert_eq!(kernels.values().map(|(count, _)| count).sum::<f64>(), dispatches);
        assert!(is_near(ms, range), "{precision}: {ms} ms, expected {range:?}: {kernels:#?}");
    }
}
