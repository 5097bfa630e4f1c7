//! Images to rows of features, in PyTorch's order, channel first, or channel last as sequences have it, and back.

use crate::common::{
    assert_close, device, guarded,
    images::{grid, padded, unpadded},
    poisoned, run, samples, wide,
};
use jostle::{
    gpu::GpuError,
    ops::{RowOrder, flatten},
};

/// What results are added to, where they are: with [`samples`], which have 22 bits, sums are off by one rounding.
const START: f32 = 0.25;

/// [batch, pixels, channels]: one; a row as an image; no whole vec4s; whole ones; past a workgroup.
const SHAPES: [[usize; 3]; 6] = [[1, 1, 1], [5, 1, 21], [3, 35, 3], [2, 9, 8], [1, 6, 5], [4, 49, 13]];

/// `words` of output: of the rows, or with `back` of the image.
fn run_flatten(
    shape: [usize; 3],
    input: &[f32],
    words: usize,
    order: RowOrder,
    [back, accumulate]: [bool; 2],
) -> Vec<f32> {
    let gpu = device();
    let output = if accumulate { guarded(gpu, &vec![START; words]) } else { poisoned(gpu, words) };
    let input = guarded(gpu, input);
    run(gpu, &[&flatten(gpu, [&input.view, &output.view], shape, order, [back, accumulate]).unwrap()]);
    output.read(gpu)
}

fn added(values: &[f32], accumulate: bool) -> Vec<f64> {
    values.iter().map(|value| f64::from(value + if accumulate { START } else { 0.0 })).collect()
}

#[test]
fn rows_are_in_either_order() {
    let orders = [RowOrder::ChannelFirst, RowOrder::ChannelLast];
    for (shape, order) in SHAPES.into_iter().flat_map(|shape| orders.map(|order| (shape, order))) {
        let [batch, pixels, channels] = shape;
        let image = samples(1, batch * pixels * channels, 1.0);
        let element = |(n, c, p): (usize, usize, usize)| image[(n * pixels + p) * channels + c];
        let rows: Vec<f32> = match order {
            RowOrder::ChannelFirst => grid([batch, channels, pixels]).map(element).collect(),
            RowOrder::ChannelLast => image.clone(),
        };
        for accumulate in [false, true] {
            let found = run_flatten(shape, &padded(&image, channels), rows.len(), order, [false, accumulate]);
            assert_close(&format!("{shape:?} {order:?}"), &found, &added(&rows, accumulate), 0.0, 0.0);

            let words = padded(&image, channels).len();
            let found = run_flatten(shape, &rows, words, order, [true, accumulate]);
            let back = unpadded(&found, channels);
            assert_close(&format!("{shape:?} {order:?} back"), &back, &added(&image, accumulate), 0.0, 0.0);
            let padding = found.iter().enumerate().filter(|(i, _)| i % channels.next_multiple_of(4) >= channels);
            let kept = if accumulate { START } else { 0.0 };
            assert!(padding.into_iter().all(|(_, value)| *value == kept), "{shape:?}: padding gets nothing");
        }
    }
}

#[test]
fn back_undoes_forth() {
    for shape in SHAPES {
        let [batch, pixels, channels] = shape;
        let image = samples(2, batch * pixels * channels, 1.0);
        let laid_out = padded(&image, channels);
        let rows = run_flatten(shape, &laid_out, image.len(), RowOrder::ChannelFirst, [false, false]);
        let again = run_flatten(shape, &rows, laid_out.len(), RowOrder::ChannelFirst, [true, false]);
        assert_close(&format!("{shape:?}"), &unpadded(&again, channels), &wide(&image), 0.0, 0.0);
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let gpu = device();
    let [rows, image] = [2 * 9 * 3, 2 * 9 * 4].map(|count| poisoned(gpu, count));
    let plan = |views, back| flatten(gpu, views, [2, 9, 3], RowOrder::ChannelFirst, [back, false]);
    assert!(plan([&image.view, &rows.view], false).is_ok() && plan([&rows.view, &image.view], true).is_ok());
    let wrong = plan([&rows.view, &image.view], false);
    assert!(matches!(wrong, Err(GpuError::Length { argument: "image", expected: 72, found: 54, .. })));
    let wrong = plan([&image.view, &image.view], true);
    assert!(matches!(wrong, Err(GpuError::Length { argument: "rows", expected: 54, found: 72, .. })));
}
