//! Models and configurations in TOML that nest without end or name absurd sizes.

use proptest::prelude::*;

use super::{SMALL, feed, memory::peak_of};

/// The refusal of a text as a model and as a configuration, neither of which may cost much.
#[track_caller]
fn refusals(text: &str, what: &str) -> [String; 2] {
    ["model", "config"].map(|target| {
        let (answer, peak) = peak_of(|| feed(target, text.as_bytes(), what));
        // The parser keeps an event for each character that means something, and a table for each layer: a hundred
        // times the text. Files are read up to 1 MiB for that reason.
        assert!(peak < SMALL + 128 * text.len(), "{target}, {what}: {peak} bytes for a text of {}", text.len());
        answer.err().unwrap_or_else(|| panic!("{target} took {what}"))
    })
}

#[test]
fn nesting_ends_before_the_stack() {
    const DEPTH: usize = 50_000;
    for (what, text) in [
        ("arrays", format!("data = {}", "[".repeat(DEPTH))),
        ("closed arrays", format!("data = {}{}", "[".repeat(DEPTH), "]".repeat(DEPTH))),
        ("tables", format!("data = {}", "{a=".repeat(DEPTH))),
        ("dotted keys", format!("data{} = 1", ".a".repeat(DEPTH))),
        ("headers", format!("[data{}]", ".a".repeat(DEPTH))),
        ("arrays of tables", format!("[[layers{}]]", ".a".repeat(DEPTH))),
        ("dotted keys of a layer", format!("[[layers]]\ntype{} = 1", ".a".repeat(DEPTH))),
    ] {
        refusals(&text, what);
    }
}

#[test]
fn blocks_within_blocks_end_before_the_stack() {
    for depth in [10, 30, 60, 1000, 20_000] {
        let open = "[{type=\"residual\",layers=".repeat(depth);
        let text = format!("layers = {open}[]{}", "}]".repeat(depth));
        let _ = feed("model", text.as_bytes(), "blocks within blocks");
    }
}

#[test]
fn layers_end_before_patience() {
    let layer = "[[layers]]\ntype='relu'\n";
    let [message, _] = refusals(&layer.repeat(20_000), "20,000 layers");
    let expected = "untrusted file, layers[10000] (relu): expected at most 10000 layers in all, found more";
    assert!(message.contains(expected), "{message}");
    // Deeper than any published network: planned, not refused.
    let norms = "[[layers]]\ntype='flatten'\n".to_owned() + &"[[layers]]\ntype='batch-norm'\n".repeat(500);
    feed("model", norms.as_bytes(), "500 norms").unwrap();
}

/// Every layer with a size left open.
const LAYERS: [&str; 16] = [
    "conv', channels=N, kernel=3",
    "conv', channels=4, kernel=N",
    "conv', channels=4, kernel=[1,N], padding=[0,M]",
    "conv', channels=4, kernel=3, padding=N",
    "conv', channels=4, kernel=3, stride=N",
    "conv', channels=4, kernel=3, dilation=N",
    "conv', channels=N, kernel=3, groups=M",
    "max-pool', kernel=N, padding=M",
    "max-pool', kernel=2, stride=N",
    "average-pool', kernel=N, stride=M",
    "average-pool', kernel=[2,N], padding=[1,M]",
    "adaptive-average-pool', size=N",
    "adaptive-average-pool', size=[N,M]",
    "group-norm', groups=N",
    "linear', features=N",
    "dropout', probability=N.5",
];

const SIZES: [u64; 14] = [
    0,
    1,
    2,
    3,
    7,
    1 << 15,
    1 << 16,
    (1 << 24) + 1,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    1 << 62,
    i64::MAX as u64,
];

fn layer(template: &str, n: u64, m: u64) -> String {
    let template = template.replace('N', &n.to_string()).replace('M', &m.to_string());
    format!("{{type='{template}}}")
}

#[test]
fn absurd_sizes_are_refused_by_name() {
    for (layer, part) in [
        (
            "conv', channels=9223372036854775807, kernel=1",
            "conv conv1: an image of 9223372036854775807 x 32 x 32 has more than",
        ),
        (
            "conv', channels=1073741824, kernel=2, padding=1",
            "conv conv1: an image of 1073741824 x 33 x 33 has more than",
        ),
        ("conv', channels=4, kernel=16777217, padding=16777216", "a kernel of [16777217, 16777217] does not fit"),
        ("conv', channels=4, kernel=3, stride=4294967297", "or a stride or dilation is 0 or too large"),
        ("conv', channels=4, kernel=4194304, padding=4194304", "has more than 4294967295 elements"),
        ("adaptive-average-pool', size=65536", "pool: an image of 3 x 65536 x 65536 has more than 4294967295 elements"),
        ("max-pool', kernel=9223372036854775807, padding=4611686018427387903", "does not fit"),
    ] {
        let [message, _] = refusals(&format!("layers = [{{type='{layer}}}]"), layer);
        let first = message.lines().next().unwrap();
        assert!(
            first.starts_with("model file untrusted file, layers[0] (") && first.contains(part),
            "{layer}: {first}"
        );
    }
    let [message, _] = refusals("layers = [{type='flatten'}, {type='linear', features=4000000000}]", "a wide layer");
    assert!(
        message.contains("layers[1] (linear): fc1.weight: [4000000000, 3072] has more than 4294967295"),
        "{message}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn no_sizes_overflow(
        layers in prop::collection::vec((0..LAYERS.len(), 0..SIZES.len(), 0..SIZES.len(), any::<bool>()), 1..5),
    ) {
        let mut list = Vec::new();
        for (template, n, m, norm) in layers {
            list.push(layer(LAYERS[template], SIZES[n], SIZES[m]));
            list.extend(norm.then(|| "{type='batch-norm'}".to_owned()));
        }
        let text = format!("layers = [{}, {{type='flatten'}}, {{type='linear'}}]", list.join(", "));
        let (_, peak) = peak_of(|| feed("model", text.as_bytes(), "absurd sizes"));
        prop_assert!(peak < SMALL, "{peak} bytes");
    }
}

const COUNTS: [&str; 14] = [
    "noise-off-epoch",
    "noise-off-step",
    "step-epochs",
    "milestones-every",
    "noise-milestones-every",
    "label-noise-seed",
    "epochs",
    "steps",
    "batch",
    "crop-padding",
    "cutout",
    "accumulate",
    "warmup-steps",
    "log-every",
];

const FINITE: [&str; 13] = [
    "lr",
    "sigma",
    "noise-gamma",
    "gamma",
    "momentum",
    "dampening",
    "weight-decay",
    "beta1",
    "beta2",
    "eps",
    "clip-norm",
    "ema",
    "label-noise",
];

#[test]
fn absurd_counts_are_refused_or_harmless() {
    for key in COUNTS {
        for value in SIZES {
            let _ = feed("config", format!("{key} = {value}").as_bytes(), key);
        }
    }
    for key in ["epochs", "steps", "batch", "accumulate", "crop-padding", "cutout"] {
        let message = feed("config", format!("{key} = {}", i64::MAX).as_bytes(), key).unwrap_err();
        assert!(message.contains(key) && message.contains("at most"), "{message}");
    }
    for key in FINITE {
        for value in ["nan", "inf", "-inf"] {
            let message = feed("config", format!("{key} = {value}").as_bytes(), key).unwrap_err();
            assert!(message.contains(key), "{key} = {value}: {message}");
        }
    }
}

#[test]
fn absurd_widths_are_refused() {
    for (model, part) in [
        ("mlp:9223372036854775807-10", "more than 4294967295 elements"),
        ("mlp:70000-70000-10", "more than 4294967295 elements"),
        ("mlp:18446744073709551616-10", "is no width"),
        ("resnet18:9223372036854775807", "is no width from 1 to 32768"),
        ("vgg16-bn:4294967296", "is no width from 1 to 32768"),
    ] {
        let message = feed("config", format!("model = \"{model}\"").as_bytes(), model).unwrap_err();
        assert!(message.contains(part), "{model}: {message}");
    }
}
