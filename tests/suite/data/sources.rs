//! The bundled digits, names of sources, subsets and epoch orders.

use std::{collections::BTreeSet, path::Path};

use jostle::data::{BatchOrder, DataError, DataSource, Dataset, SampleShape, Samples, Split, epoch_order};
use proptest::prelude::*;

fn class_counts(set: &Dataset) -> Vec<usize> {
    (0..set.targets.outputs() as u32)
        .map(|class| set.targets.labels().iter().filter(|&&label| label == class).count())
        .collect()
}

fn assert_near((mean, std): (f32, f32), expected: (f32, f32)) {
    assert!((mean - expected.0).abs() < 5e-5 && (std - expected.1).abs() < 5e-5, "{mean} {std}");
}

#[test]
fn digits_have_the_documented_shape_and_balance() {
    let Split { train, test } = DataSource::Digits.load().unwrap();
    assert_eq!((train.len(), test.len()), (1297, 500));
    for part in [&train, &test] {
        assert_eq!(part.name, "digits");
        assert_eq!(part.shape, SampleShape { channels: 1, height: 8, width: 8 });
        assert_eq!((part.features(), part.targets.outputs(), part.full_scale), (64, 10, 16.0));
        assert_eq!(part.samples.len(), part.len() * 64);
        assert_eq!(part.samples.as_u8().unwrap().iter().max(), Some(&16));
    }
    assert_eq!(class_counts(&test), [50; 10]);
    assert_eq!(class_counts(&train), [128, 132, 127, 133, 131, 132, 131, 129, 124, 130]);
}

#[test]
fn digits_split_never_changes() {
    let Split { train, test } = DataSource::Digits.load().unwrap();
    // The file's first line opens the training part, and its last line closes the test part.
    let (pixels, label) = train.sample(0).unwrap();
    assert_eq!((&pixels[..8], label), ([0, 0, 5, 13, 9, 1, 0, 0].as_slice(), 0));
    let (pixels, label) = test.sample(499).unwrap();
    assert_eq!((&pixels[56..], label), ([0, 1, 8, 12, 14, 12, 1, 0].as_slice(), 8));

    let crc = |part: &Dataset| {
        let mut crc = flate2::Crc::new();
        crc.update(part.samples.as_bytes());
        crc.update(&part.targets.labels().iter().map(|&label| label as u8).collect::<Vec<_>>());
        crc.sum()
    };
    assert_eq!((crc(&train), crc(&test)), (0x1920_c23e, 0x4757_02ca));
    assert_near(train.mean_std(), (0.305746, 0.375499));
}

#[test]
fn mean_std_is_that_of_the_population_in_units_of_full_scale() {
    let shape = SampleShape { channels: 1, height: 1, width: 2 };
    let set = |pixels, full_scale| {
        Dataset {
            name: "two".into(),
            samples: Samples::U8(pixels),
            targets: vec![0, 1].into(),
            shape,
            full_scale,
            published: &[],
        }
        .mean_std()
    };
    assert_near(set(vec![0, 255, 0, 255], 255.0), (0.5, 0.5));
    assert_near(set(vec![1, 2, 3, 4], 10.0), (0.25, 0.111_803));
    assert_eq!(set(vec![7; 4], 7.0), (1.0, 0.0));
}

#[test]
fn errors_cross_threads_and_say_their_cause_once() {
    fn assert_bounds<T: std::error::Error + Send + Sync + 'static>(_: &T) {}
    let error = DataError::Io { path: Path::new("x").into(), offset: 3, cause: std::io::Error::other("no") };
    assert_bounds(&error);
    assert_eq!(error.to_string(), "x: at offset 3, expected to read on, found an error: no");
    assert!(std::error::Error::source(&error).is_none());
}

#[test]
fn sources_and_orders_read_what_they_print() {
    for text in [
        "digits",
        "plays",
        "text:some/file.txt",
        "text:some/f@le.gz@bytes",
        "tokens:some/train.bin",
        "tokens:some/train.bin@50304",
        "mnist",
        "fashion-mnist",
        "idx:some/folder",
        "cifar10",
        "cifar100",
        "cifar:some/folder",
        "folder:some/folder",
        "folder:some/f@lder@32x24",
    ] {
        assert_eq!(text.parse::<DataSource>().unwrap().to_string(), text);
    }
    for text in ["", "idx:", "text:", "tokens:", "plays:x", "MNIST", "cifar", "cifar:", "cifar10:x", "folder:"] {
        assert_eq!(
            text.parse::<DataSource>().unwrap_err().to_string(),
            format!("unknown data source `{text}`: expected {}", DataSource::CHOICES)
        );
    }
    for order in [BatchOrder::Shuffled, BatchOrder::Sequential] {
        assert_eq!(order.to_string().parse::<BatchOrder>().unwrap(), order);
    }
    assert_eq!(
        "random".parse::<BatchOrder>().unwrap_err().to_string(),
        "unknown batch order \"random\", expected one of shuffled, sequential"
    );
}

/// Each training digit is different, so its pixels tell which sample it is.
fn identities(set: &Dataset) -> BTreeSet<&[u8]> {
    set.samples.as_u8().unwrap().chunks_exact(set.features()).collect()
}

#[test]
fn subsets_are_deterministic_nested_and_without_replacement() {
    let train = DataSource::Digits.load().unwrap().train;
    let subset = train.subset(100, 1).unwrap();
    assert_eq!(subset, train.subset(100, 1).unwrap());
    assert_ne!(subset, train.subset(100, 2).unwrap());
    assert_eq!((subset.len(), subset.samples.len(), subset.targets.outputs()), (100, 6400, 10));
    assert_eq!((subset.name.as_str(), subset.full_scale), ("digits", 16.0));
    assert_eq!(train.subset(train.len(), 9).unwrap(), train);

    assert_eq!(identities(&train).len(), train.len());
    assert_eq!(identities(&subset).len(), 100);
    assert!(identities(&subset).is_subset(&identities(&train.subset(300, 1).unwrap())));
}

#[test]
fn subset_choice_never_changes() {
    let numbered = Dataset {
        name: "numbers".into(),
        samples: vec![0u8; 1797].into(),
        targets: (0..1797).collect::<Vec<_>>().into(),
        shape: SampleShape { channels: 1, height: 1, width: 1 },
        full_scale: 255.0,
        published: &[],
    };
    assert_eq!(numbered.subset(8, 1).unwrap().targets.labels(), [253, 418, 509, 573, 1038, 1131, 1395, 1496]);
}

#[test]
fn impossible_subsets_are_refused() {
    let train = DataSource::Digits.load().unwrap().train;
    for n in [0, 1298] {
        let message = format!("subset of digits: expected a size from 1 to 1297, found {n}");
        assert_eq!(train.subset(n, 1).unwrap_err().to_string(), message);
    }
}

/// The values were computed by another implementation of ChaCha8, of Lemire's method and of the shuffle: they hold on
/// every platform, and a change of them breaks every recorded experiment.
#[test]
fn epoch_order_never_changes() {
    assert_eq!(epoch_order(12, BatchOrder::Shuffled, 42, 3), [7, 9, 5, 10, 0, 8, 1, 11, 6, 4, 2, 3]);
    let order = epoch_order(60_000, BatchOrder::Shuffled, 1, 0);
    assert_eq!(order[..4], [23_134, 3_610, 5_072, 44_581]);
    assert_eq!(order[59_996..], [16_620, 20_348, 4_261, 54_133]);
}

#[test]
fn epoch_order_depends_on_seed_and_epoch() {
    let order = |seed, epoch| epoch_order(1000, BatchOrder::Shuffled, seed, epoch);
    assert_eq!(order(1, 2), order(1, 2));
    assert_ne!(order(1, 2), order(1, 3));
    assert_ne!(order(1, 2), order(2, 2));
    assert_ne!(order(1, 2), order(2, 1));
    assert_eq!(epoch_order(4, BatchOrder::Sequential, 1, 2), [0, 1, 2, 3]);
    assert!(epoch_order(0, BatchOrder::Shuffled, 1, 2).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn epoch_order_is_a_permutation(len in 0usize..2000, seed: u64, epoch: u64) {
        let mut order = epoch_order(len, BatchOrder::Shuffled, seed, epoch);
        order.sort_unstable();
        prop_assert!(order.into_iter().eq(0..len as u32));
    }
}
