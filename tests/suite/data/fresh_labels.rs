//! Labels drawn anew at each visit: how many, which, by what they are drawn, and that batches get them wherever the data lie.

use crate::common::device;
use jostle::{
    data::{BatchOrder, DataSource, Dataset},
    noise::FreshLabels,
    train::DeviceData,
};

const CLASSES: usize = 10;

/// The labels of an epoch in the place of zeros.
fn labels(fresh: FreshLabels, epoch: u64, samples: usize) -> Vec<u32> {
    let mut labels = vec![0; samples];
    fresh.replace(epoch, 0..samples as u32, &mut labels, CLASSES);
    labels
}

#[test]
fn labels_are_drawn_uniformly_and_anew_each_epoch() {
    let samples: usize = 20_000;
    let fresh = FreshLabels::new(0.3, 7);
    let epochs: Vec<Vec<u32>> = (0..3).map(|epoch| labels(fresh, epoch, samples)).collect();
    for drawn in &epochs {
        // 600 of each class, standard deviation sqrt(20000 * 0.03 * 0.97) = 24: five of them. Class 0 keeps the others.
        for class in 1..CLASSES as u32 {
            let count = drawn.iter().filter(|label| **label == class).count();
            assert!(count.abs_diff(600) < 120, "class {class}: {count}");
        }
        assert!(drawn.iter().all(|label| *label < CLASSES as u32));
    }
    // Of two epochs a sample is changed in both with chance 0.27^2: 1458, standard deviation 37.
    let both = |a: &[u32], b: &[u32]| a.iter().zip(b).filter(|(a, b)| **a > 0 && **b > 0).count();
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        let count = both(&epochs[a], &epochs[b]);
        assert!(count.abs_diff(1458) < 185, "epochs {a} and {b}: {count}");
    }
    let other = labels(FreshLabels::new(0.3, 8), 0, samples);
    assert!(both(&epochs[0], &other).abs_diff(1458) < 185, "another seed draws independently");
    assert_ne!(labels(fresh, 1 << 32, 100), labels(fresh, 0, 100), "late epochs are no early ones");
}

#[test]
fn a_sample_draws_by_its_own_number() {
    let fresh = FreshLabels::new(0.5, 3);
    let all = labels(fresh, 4, 500);
    let mut some = [0; 3];
    fresh.replace(4, [499, 0, 250].into_iter(), &mut some, CLASSES);
    assert_eq!(some, [all[499], all[0], all[250]]);
    let less = FreshLabels::new(0.2, 3);
    for sample in 0..500 {
        let drawn = less.drawn(4, sample, CLASSES);
        assert!(
            drawn.is_none() || drawn == fresh.drawn(4, sample, CLASSES),
            "a larger share draws what a smaller does"
        );
    }
    assert!((0..500).all(|sample| FreshLabels::new(0.0, 3).drawn(4, sample, CLASSES).is_none()));
    assert!((0..500).all(|sample| FreshLabels::new(1.0, 3).drawn(4, sample, CLASSES).is_some()));
    assert!((0..500).all(|sample| FreshLabels::new(1.0, 3).drawn(4, sample, 1) == Some(0)));
}

/// These may never change, or runs could not be repeated.
#[test]
fn the_labels_of_a_seed_never_change() {
    assert_eq!(labels(FreshLabels::new(0.5, 7), 3, 12), [4, 3, 0, 0, 0, 0, 6, 5, 0, 7, 3, 9]);
}

/// The labels of an epoch's samples in the order of their visit, as kernels read them.
fn visited(data: &DeviceData, batch: usize) -> Vec<u32> {
    let gpu = device();
    let (views, mut found) = (data.views(), Vec::new());
    for first in (0..data.len()).step_by(batch) {
        let valid = batch.min(data.len() - first);
        let start = data.stage(gpu, first, valid).unwrap() as usize;
        let (indices, targets): (Vec<u32>, Vec<u32>) =
            (gpu.read(&views.indices).unwrap(), gpu.read(&views.targets).unwrap());
        found.extend(indices[start..start + valid].iter().map(|index| targets[*index as usize]));
    }
    found
}

#[test]
fn batches_have_them_wherever_the_data_lie() {
    let gpu = device();
    let clean: Dataset = DataSource::Digits.load().unwrap().train.subset(60, 1).unwrap();
    let fresh = FreshLabels::new(0.4, 5);
    let mut ways = [true, false].map(|resident| {
        let data = DeviceData::with_residency(gpu, clean.clone(), 16, &[], resident).unwrap();
        data.relabelled(Some(fresh))
    });
    for epoch in [0, 1, 9] {
        let order = clean.places(BatchOrder::Shuffled, 2, epoch);
        let mut expected = clean.targets.labels().to_vec();
        fresh.replace(epoch, 0..60, &mut expected, CLASSES);
        assert_ne!(expected, clean.targets.labels());
        let expected: Vec<u32> = order.iter().map(|sample| expected[*sample as usize]).collect();
        for data in &mut ways {
            data.begin_epoch(gpu, epoch, order.clone()).unwrap();
            assert_eq!(visited(data, 16), expected, "epoch {epoch}");
            assert_eq!(data.dataset(), &clean, "the data themselves stay as they are");
        }
    }
}
