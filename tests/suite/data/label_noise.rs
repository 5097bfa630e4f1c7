//! Labels replaced at random: how many, which, by what seed; and that they are those of the training data alone.

use jostle::{
    data::{DataSource, Dataset, LabelNoise, SampleShape, Targets},
    train::{Prepared, RunConfig},
};

fn zeros(len: usize, classes: usize) -> Dataset {
    let shape = SampleShape { channels: 1, height: 1, width: 1 };
    let (pixels, labels) = (vec![7u8; len], vec![0; len]);
    let (name, targets) = ("zeros".into(), Targets::Classes { labels, classes });
    Dataset { name, samples: pixels.into(), targets, shape, full_scale: 1.0, published: &[] }
}

fn replaced(clean: &Dataset, share: f64, seed: u64) -> (Dataset, LabelNoise) {
    let mut data = clean.clone();
    let noise = data.replace_labels(share, seed);
    (data, noise)
}

/// Samples whose label is another in `b`.
fn differing(a: &Dataset, b: &Dataset) -> Vec<usize> {
    (0..a.len()).filter(|i| a.targets.labels()[*i] != b.targets.labels()[*i]).collect()
}

#[test]
fn labels_are_drawn_uniformly_from_all_classes() {
    let clean = zeros(20_000, 10);
    let (noisy, noise) = replaced(&clean, 0.3, 1);
    assert_eq!(noise.drawn, 6000);
    assert_eq!(noise.changed, differing(&clean, &noisy).len());
    noisy.check().unwrap();
    assert_eq!(noisy.samples, clean.samples);
    // 600 of each class are drawn, standard deviation sqrt(6000 * 0.09) = 23: five of them. Class 0 keeps the others.
    for class in 1..10 {
        let count = noisy.targets.labels().iter().filter(|label| **label == class).count();
        assert!(count.abs_diff(600) < 116, "class {class}: {count}");
    }
    assert!(noise.changed.abs_diff(5400) < 116, "{noise:?}");
}

#[test]
fn the_number_is_exact_and_the_seed_alone_says_which() {
    let clean = DataSource::Digits.load().unwrap().train.subset(599, 2).unwrap();
    for (share, drawn) in [(0.0, 0), (0.001, 1), (0.3, 180), (0.5, 300), (0.999, 598)] {
        let (noisy, noise) = replaced(&clean, share, 5);
        assert_eq!(noise.drawn, drawn, "{share}");
        assert_eq!(noise.changed, differing(&clean, &noisy).len());
        assert_eq!(replaced(&clean, share, 5), (noisy, noise));
    }
    let [some, more, other] = [(0.2, 5), (0.4, 5), (0.2, 6)].map(|(share, seed)| replaced(&clean, share, seed).0);
    for sample in differing(&clean, &some) {
        assert_eq!(
            some.targets.labels()[sample],
            more.targets.labels()[sample],
            "a larger share replaces what a smaller one does, alike"
        );
    }
    assert_ne!(differing(&clean, &some), differing(&clean, &other));
}

/// These may never change, or runs could not be repeated.
#[test]
fn the_labels_of_a_seed_never_change() {
    let (noisy, noise) = replaced(&zeros(12, 10), 0.5, 7);
    assert_eq!(noise.drawn, 6);
    assert_eq!(noisy.targets.labels(), [7, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 7]);
}

#[test]
fn a_run_replaces_labels_of_its_training_subset_alone() {
    let clean = RunConfig { subset: Some(600), stratified: true, subset_seed: 4, ..RunConfig::default() };
    let noisy = RunConfig { label_noise: 0.3, ..clean.clone() };
    let load = |config: &RunConfig| Prepared::load(config).unwrap();
    let (before, after) = (load(&clean), load(&noisy));
    assert_eq!(before.label_noise, None);
    assert_eq!(before.training_data(), "digits, 600 samples");
    let noise = after.label_noise.unwrap();
    assert_eq!((noise.drawn, noise.changed), (180, differing(&before.split.train, &after.split.train).len()));
    let line = format!("digits, 600 samples, 30 % of labels replaced ({} changed)", noise.changed);
    assert_eq!(after.training_data(), line);
    assert_eq!(after.split.test, before.split.test);
    // Arms and seeds share their data; the labels have a seed of their own where one is asked for.
    let labels = |config: RunConfig| load(&config).split.train.targets;
    assert_eq!(labels(RunConfig { seed: 9, ..noisy.clone() }), after.split.train.targets);
    assert_eq!(labels(RunConfig { label_noise_seed: Some(4), ..noisy.clone() }), after.split.train.targets);
    assert_ne!(labels(RunConfig { label_noise_seed: Some(5), ..noisy }), after.split.train.targets);
}
