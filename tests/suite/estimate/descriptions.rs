//! Descriptions of GPUs: those that come with the program, and what is said of one that is wrong.

use std::path::Path;

use jostle::{
    estimate::{Bound, DescriptionError, Dispatch, Estimate, GpuDescription},
    gpu::{ProductTile, Work},
};

const H100: &str = include_str!("../../../assets/gpus/h100.toml");

fn error(text: &str) -> String {
    GpuDescription::parse(Path::new("mine.toml"), text).unwrap_err().to_string()
}

#[test]
fn those_that_come_with_the_program_can_be_used() {
    assert_eq!(GpuDescription::known().count(), 7);
    for name in GpuDescription::known() {
        let gpu = GpuDescription::named(name).unwrap_or_else(|error| panic!("{error}"));
        // A multiply-add for each lane and clock, and at most four times as many lanes as a subgroup has.
        let lanes = gpu.f32_rate / (2.0 * f64::from(gpu.multiprocessors) * gpu.clock);
        assert!((60.0..=140.0).contains(&lanes), "{name}: {lanes} lanes a multiprocessor");
        assert!(gpu.workgroup_limit <= gpu.workgroup_memory, "{name}");
        assert!(gpu.sources.iter().any(|source| source.contains("launch")), "{name}");
    }
}

#[test]
fn a_wrong_key_is_named_with_the_file_and_what_it_takes() {
    let missing = error(&H100.replace("bandwidth = \"3.35 TB/s\"\n", ""));
    assert_eq!(
        missing,
        "mine.toml: bandwidth: expected a number above 0, a space and a unit (GB/s, TB/s) as a string, found nothing"
    );
    let zero = error(&H100.replace("multiprocessors = 132", "multiprocessors = 0"));
    assert_eq!(zero, "mine.toml: multiprocessors: expected a whole number above 0, found 0");
    for wrong in ["0 us", "1.7 s", "1.7us", "1.7", "-1 us", "inf us", "NaN us"] {
        let unit = error(&H100.replace("\"1.7 us\"", &format!("\"{wrong}\"")));
        assert!(
            unit.starts_with("mine.toml: launch: expected a number above 0, a space and a unit (ns, us, ms)"),
            "{unit}"
        );
        assert!(unit.ends_with(&format!("found \"{wrong}\"")), "{unit}");
    }
    let matrices = error(&H100.replace("side = 16", "side = 12"));
    assert_eq!(matrices, "mine.toml: matrices.side: expected 8 or 16, found 12");
    let operands = error(&H100.replace("operands = [\"f16\"]", "operands = [\"f16\", \"f32\"]"));
    assert!(operands.starts_with("mine.toml: matrices.operands: expected [\"f16\"], or"), "{operands}");
    let unknown = error(&format!("speed = 3\n{H100}"));
    assert_eq!(unknown, "mine.toml: speed: expected a key that is known, found 3");
    assert!(error("launch = ").starts_with("mine.toml: TOML parse error"));
}

#[test]
fn a_gpu_that_is_not_known_is_met_by_those_that_are() {
    let unknown = GpuDescription::named("voodoo2").unwrap_err();
    assert!(matches!(unknown, DescriptionError::Unknown { .. }));
    assert!(unknown.to_string().contains("h100, h200, a100"), "{unknown}");
    let absent = GpuDescription::named("no/such.toml").unwrap_err();
    assert!(absent.to_string().starts_with("no/such.toml: "), "{absent}");
}

/// A dispatch of 64 x 64 tiles.
fn product(workgroups: u64, terms: usize) -> Dispatch {
    let tile =
        ProductTile { sides: [64, 64], staged: 128, share: [4, 4], depth: 16, element_bytes: 4, by_matrices: false };
    Dispatch { workgroups, threads: 256, chain: terms / 16, work: Work::default(), tile: Some(tile) }
}

#[test]
fn each_part_of_a_dispatch_bounds_it_where_it_should() {
    let gpu = GpuDescription::named("h100").unwrap();
    let sweep = |bytes: u64, chain: usize| Dispatch {
        workgroups: 10_000,
        threads: 256,
        chain,
        work: Work { flops: 0, bytes },
        tile: None,
    };
    let bound = |dispatch: &Dispatch| Estimate::new(&gpu, dispatch).bound();
    assert_eq!(bound(&sweep(1000, 1)), Bound::Latency, "ten thousand workgroups are ten waves");
    assert_eq!(bound(&Dispatch { workgroups: 1, ..sweep(1000, 1) }), Bound::Launch);
    assert_eq!(bound(&sweep(1 << 30, 1)), Bound::Memory);
    assert_eq!(bound(&product(10_000, 4096)), Bound::Compute);
    // One workgroup more than multiprocessors takes twice as long; half as many take as long.
    let [one, two, half] = [132, 133, 66].map(|count| Estimate::new(&gpu, &product(count, 4096)).compute);
    assert!((two / one - 2.0).abs() < 1e-9 && half == one, "{one} {two} {half}");
    let gigabyte = Estimate::new(&gpu, &sweep(1_000_000_000, 1));
    assert!((gigabyte.memory - 1.0 / (0.89 * 3350.0)).abs() < 1e-9, "bytes by 0.89 of the bandwidth");
}

#[test]
fn products_run_at_the_rates_that_were_measured() {
    // An H200 by timestamps (benches/RESULTS.md), TFLOP/s at 4096^3: 37.5 by 8 x 8 sums, 30.6 by 4 x 4, 149 to 179 and 95 to 101 by
    // matrices. An eighth is what wants to be left to waves, whose last is not full, and to layouts.
    let gpu = GpuDescription::named("h200").unwrap();
    let rate = |side: u32, share: u32, depth: u32, by_matrices: bool| {
        let element_bytes = if by_matrices { 2 } else { 4 };
        let staged = 2 * side;
        let tile = ProductTile { sides: [side; 2], staged, share: [share; 2], depth, element_bytes, by_matrices };
        let workgroups = u64::from(4096 / side).pow(2);
        let chain = 4096 / depth as usize;
        let dispatch = Dispatch { workgroups, threads: 256, chain, work: Work::default(), tile: Some(tile) };
        2.0 * 4096_f64.powi(3) / Estimate::new(&gpu, &dispatch).compute * 1e-12
    };
    for (tile, measured) in [
        (rate(128, 8, 16, false), 37.5),
        (rate(64, 4, 16, false), 30.6),
        (rate(128, 64, 32, true), 164.0),
        (rate(64, 32, 32, true), 98.0),
    ] {
        assert!((tile / measured - 1.0).abs() < 0.125, "{tile} TFLOP/s, measured {measured}");
    }
}
