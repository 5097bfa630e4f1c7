//! Listing and judging, for which no driver is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs};

use jostle_compilers::{
    F32,
    spirv::{self, Checks},
};

use crate::{
    baseline::{Baseline, Judgement},
    family::Driver,
    pipelines::{Pipeline, Selection, pipelines},
    report::{Compiled, Report},
    statistics::{SUBGROUP_SIZE, Statistics},
};

const KERNEL: &str = "matmul_block-f32 A_ALIGNED=1";

/// Numbers as RADV lists them, of which these are not 0.
fn numbers(known: &[(&str, u64)]) -> Statistics {
    let names = ["SGPRs", "VGPRs", "Spilled SGPRs", "Spilled VGPRs", "Code size", "LDS size", "Scratch size"];
    let guesses = ["Subgroups per SIMD", "Instructions", "Latency", "Inverse Throughput", SUBGROUP_SIZE];
    let value = |name: &str| known.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value);
    let listed: Vec<_> = names.iter().chain(&guesses).map(|name| ((*name).to_owned(), value(name))).collect();
    Statistics::from_driver(&listed).unwrap()
}

fn subgroups(count: u64) -> Result<Statistics, String> {
    Ok(numbers(&[("Subgroups per SIMD", count)]))
}

fn report<const N: usize>(family: &str, pipelines: [(&str, Result<Statistics, String>); N]) -> Report {
    let compiled = |(name, outcome): (&str, _)| (name.to_owned(), Compiled { steps: Vec::new(), outcome });
    Report {
        family: family.to_owned(),
        device: String::new(),
        driver: "Mesa 22.3.6".to_owned(),
        cooperative: false,
        pipelines: pipelines.into_iter().map(compiled).collect(),
    }
}

/// A baseline of what a report says.
fn committed(report: Report) -> Baseline {
    Baseline::default().updated("22.3.6", &[report])
}

fn judged(baseline: &Baseline, report: Report) -> [Vec<String>; 2] {
    let Judgement { failures, notes } = Judgement::new(Some(baseline), &[report]);
    [failures, notes]
}

const NOTHING: [String; 0] = [];

#[test]
fn what_has_not_changed_is_not_named() {
    let same = || report("rdna3", [(KERNEL, subgroups(16))]);
    assert_eq!(judged(&committed(same()), same()), [NOTHING; 2]);
}

#[test]
fn lost_occupancy_fails_and_won_occupancy_is_named() {
    let baseline = committed(report("rdna3", [(KERNEL, subgroups(16))]));
    let [failures, notes] = judged(&baseline, report("rdna3", [(KERNEL, subgroups(12))]));
    assert_eq!(failures, [format!("rdna3 {KERNEL}: occupancy lost: 12 subgroups a SIMD, 16 before")]);
    assert_eq!(notes, [format!("rdna3 {KERNEL}: subgroups 16 -> 12")]);
    let [failures, notes] = judged(&baseline, report("rdna3", [(KERNEL, subgroups(20))]));
    assert_eq!((failures.len(), notes), (0, vec![format!("rdna3 {KERNEL}: subgroups 16 -> 20")]));
    // Another family's numbers are its own.
    let [failures, notes] = judged(&baseline, report("gcn5", [(KERNEL, subgroups(2))]));
    assert_eq!((failures.len(), notes), (0, vec![format!("gcn5 {KERNEL}: new")]));
}

#[test]
fn a_spill_fails_unless_it_is_argued() {
    for spilt in ["Spilled VGPRs", "Spilled SGPRs"] {
        let spills = || report("gcn5", [(KERNEL, Ok(numbers(&[(spilt, 3)])))]);
        let line = format!("gcn5 {KERNEL}: 3 registers spilt");
        // Even where the baseline has it too: it must not creep in with an update.
        let mut baseline = committed(spills());
        assert_eq!(judged(&baseline, spills()), [vec![line.clone()], vec![]]);
        baseline.argued.insert("gcn5 matmul_tile".to_owned(), "of another kernel".to_owned());
        baseline.argued.insert("rdna3 matmul_block".to_owned(), "of another family".to_owned());
        assert_eq!(judged(&baseline, spills()), [vec![line.clone()], vec![]]);
        baseline.argued.insert("gcn5 matmul_block".to_owned(), "three registers of an address".to_owned());
        assert_eq!(judged(&baseline, spills()), [vec![], vec![line.clone()]]);
        // A version without a baseline is only looked at.
        let Judgement { failures, notes } = Judgement::new(None, &[spills()]);
        assert_eq!((failures.len(), notes), (0, vec![line]));
    }
}

#[test]
fn a_new_pipeline_that_spills_fails() {
    let spills = report("rdna3", [(KERNEL, Ok(numbers(&[("Spilled VGPRs", 1)])))]);
    let [failures, notes] = judged(&Baseline::default(), spills);
    assert_eq!(failures, [format!("rdna3 {KERNEL}: 1 registers spilt")]);
    assert_eq!(notes, [format!("rdna3 {KERNEL}: new")]);
}

#[test]
fn new_and_gone_pipelines_are_named_and_do_not_fail() {
    let baseline = committed(report("rdna3", [("a-f32", subgroups(16)), ("b-f32", subgroups(16))]));
    let now = report("rdna3", [("b-f32", subgroups(16)), ("c-f32", subgroups(1))]);
    assert_eq!(judged(&baseline, now), [vec![], vec!["rdna3 c-f32: new".to_owned(), "rdna3 a-f32: gone".to_owned()]]);
}

#[test]
fn a_refusal_fails_with_and_without_a_baseline() {
    let refused = || report("rdna2", [(KERNEL, Err("the driver refuses it".to_owned()))]);
    for baseline in [None, Some(&committed(report("rdna2", [(KERNEL, subgroups(16))])))] {
        let judgement = Judgement::new(baseline, &[refused()]);
        assert_eq!(judgement.failures, [format!("rdna2 {KERNEL}: the driver refuses it")]);
    }
}

#[test]
fn an_update_replaces_the_families_that_were_compiled_and_keeps_the_rest() {
    let both = [report("rdna3", [("a-f32", subgroups(16))]), report("gcn5", [("a-f32", subgroups(5))])];
    let mut baseline = Baseline::default().updated("22.3.6", &both);
    baseline.argued.insert("gcn5 a".to_owned(), "why".to_owned());
    let updated = baseline.updated("22.3.6", &[report("rdna3", [("b-f32", subgroups(8))])]);
    assert_eq!(updated.argued.len(), 1);
    let families = |name: &str| updated.pipelines[name].keys().cloned().collect::<Vec<_>>();
    assert_eq!((families("a-f32"), families("b-f32")), (vec!["gcn5".to_owned()], vec!["rdna3".to_owned()]));
    // A pipeline that no family has is gone.
    let updated = updated.updated("22.3.6", &[report("gcn5", [])]);
    assert_eq!(updated.pipelines.keys().collect::<Vec<_>>(), ["b-f32"]);
}

#[test]
fn a_baseline_is_read_as_it_was_written_a_line_a_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baseline.json");
    assert_eq!(Baseline::read(&path), Ok(None));
    let mut baseline = committed(report("rdna3", [("a-f32", subgroups(16)), ("b-f32", subgroups(8))]));
    baseline.argued.insert("rdna3 a".to_owned(), "\"quoted\"".to_owned());
    let text = baseline.text().unwrap();
    fs::write(&path, &text).unwrap();
    assert_eq!(Baseline::read(&path), Ok(Some(baseline)));
    assert_eq!(text.lines().filter(|line| line.contains("-f32\":")).count(), 2);

    fs::write(&path, text.replace("\"subgroups\"", "\"waves\"")).unwrap();
    assert!(Baseline::read(&path).unwrap_err().contains("other names"));
    fs::write(&path, "{}").unwrap();
    assert!(Baseline::read(&path).unwrap_err().contains("missing field"));
}

#[test]
fn the_committed_baseline_can_be_read_and_is_written_as_it_is() {
    let path = Baseline::place("22.3.6");
    let baseline = Baseline::read(&path).unwrap().expect("it is committed");
    assert_eq!(baseline.mesa, "22.3.6");
    assert_eq!(baseline.text().unwrap(), fs::read_to_string(path).unwrap());
}

#[test]
fn numbers_are_found_by_their_names() {
    let found = numbers(&[("VGPRs", 72), ("Spilled VGPRs", 2), ("Spilled SGPRs", 1), ("Subgroups per SIMD", 16)]);
    assert_eq!((found.spilt(), found.subgroups()), (3, 16));
    assert_eq!(found.named().find(|(name, _)| *name == "VGPRs"), Some(("VGPRs", 72)));
    let words = Statistics::from_driver(&[("SGPRs".to_owned(), 1)]).unwrap_err();
    assert!(words.contains(SUBGROUP_SIZE), "{words}");
}

#[test]
fn versions_are_mesa_s_own() {
    let version = |driver: &str| Report { driver: driver.to_owned(), ..report("gcn5", []) }.mesa().to_owned();
    assert_eq!(version("Mesa 22.3.6"), "22.3.6");
    assert_eq!(version("Mesa 25.0.7-2~bpo12+1"), "25.0.7");
    assert_eq!(version("Mesa 26.0.0-devel (git-0123456789)"), "26.0.0");
}

#[test]
fn every_pipeline_of_the_steps_has_a_name_and_spirv() {
    let without = pipelines(None, Selection::All).unwrap();
    let with = pipelines(Some([32, 64]), Selection::All).unwrap();
    let names = |listed: &[Pipeline]| listed.iter().map(|one| one.name()).collect::<BTreeSet<_>>();
    assert_eq!((names(&without).len(), names(&with).len()), (without.len(), with.len()));
    assert!(names(&with).is_superset(&names(&without)));
    for pipeline in &with {
        spirv::write(&pipeline.source, &pipeline.overrides, Checks::AsTrained).unwrap();
    }

    assert!(without.iter().all(|pipeline| !pipeline.source.is_cooperative()));
    let coop = pipelines(Some([32, 64]), Selection::Cooperative).unwrap();
    assert_eq!(coop.len(), with.iter().filter(|pipeline| pipeline.source.is_cooperative()).count());
    for entry in ["conv_coop", "conv_coop_row", "matmul_coop"] {
        assert!(coop.iter().any(|pipeline| pipeline.source.spec.entry == entry), "{entry}");
    }
    for pipeline in coop {
        assert!(pipeline.source.is_cooperative() && pipeline.source.types.real_is_half, "{}", pipeline.name());
        assert!(pipeline.steps.iter().all(|step| step.ends_with(" f16")), "{:?}", pipeline.steps);
    }

    let updates = without.iter().filter(|pipeline| pipeline.source.spec.entry.starts_with("update_"));
    let updates: BTreeSet<_> = updates.map(|one| (one.source.spec.entry, one.source.types == F32)).collect();
    assert_eq!(updates.len(), 4, "SGD and Adam, in both precisions: {updates:?}");
}

/// What stays f32 in a step of f16 is judged as a pipeline of f32: there has to be one.
#[test]
fn a_step_in_f16_launches_what_one_in_f32_does() {
    let all = pipelines(None, Selection::All).unwrap();
    let launched = |precision: &str| -> BTreeSet<String> {
        let taken = all.iter().filter(|pipeline| pipeline.steps.iter().any(|step| step.ends_with(precision)));
        taken.map(|pipeline| format!("{} {:?}", pipeline.source.spec.entry, pipeline.overrides)).collect()
    };
    let [word, half] = [launched(" f32"), launched(" f16")];
    let only_half: Vec<_> = half.difference(&word).collect();
    // Its losses and updates know of the loss scale.
    assert!(only_half.iter().all(|launch| launch.contains("(\"SCALED\", 1.0)")), "{only_half:?}");
    assert_eq!(word.difference(&half).count(), only_half.len());
}

#[test]
fn a_driver_with_a_path_brings_its_libraries() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("radeon_icd.json");
    let driver = |library: &str| {
        fs::write(&file, format!(r#"{{"ICD": {{"library_path": "{library}"}}}}"#)).unwrap();
        format!("{:?}", Driver::new(&file).unwrap())
    };
    assert!(driver("/unpacked/lib/libvulkan_radeon.so").contains("libraries: Some(\"/unpacked/lib\")"));
    assert!(driver("libvulkan_radeon.so").contains("libraries: None"));
    fs::write(&file, "{").unwrap();
    assert!(Driver::new(&file).is_err());
    assert!(Driver::new(folder.path()).is_err());
}
