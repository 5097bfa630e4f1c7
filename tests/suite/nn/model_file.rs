//! Models described in TOML.

use std::{fs, path::Path};

use jostle::{
    graph::ValueShape,
    kernels::ConvOptions,
    nn::{Model, ModelError, Sequential, Signature},
    ops::{LinearOptions, NormOptions},
};
use tempfile::TempDir;

const RESIDUAL: &str = r#"
[[layers]]
type = "conv"
channels = 8
kernel = 3
padding = 1
bias = false

[[layers]]
type = "batch-norm"

[[layers]]
type = "relu"

[[layers]]
type = "residual"
name = "stage"
layers = [
    { type = "conv", channels = 16, kernel = 3, padding = 1, stride = 2, bias = false },
    { type = "batch-norm" },
    { type = "relu" },
    { type = "conv", channels = 16, kernel = [3, 1], padding = [1, 0], groups = 2 },
]
shortcut = [{ type = "conv", name = "projection", channels = 16, kernel = 1, stride = 2 }]

[[layers]]
type = "max-pool"
kernel = 2

[[layers]]
type = "global-average-pool"

[[layers]]
type = "flatten"

[[layers]]
type = "dropout"
probability = 0.25

[[layers]]
type = "linear"
"#;

fn model(text: &str) -> Result<Model, ModelError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("net.toml");
    fs::write(&path, text).unwrap();
    Model::build(path.to_str().unwrap(), &Signature::default())
}

#[test]
fn a_file_becomes_a_model_with_named_parameters() {
    let model = model(RESIDUAL).unwrap();
    let params: Vec<(&str, &[usize])> =
        model.graph.params().iter().map(|param| (param.name.as_str(), param.shape.as_slice())).collect();
    let expected: [(&str, &[usize]); 12] = [
        ("conv1.weight", &[8, 3, 3, 3]),
        ("bn1.weight", &[8]),
        ("bn1.bias", &[8]),
        ("stage.conv1.weight", &[16, 8, 3, 3]),
        ("stage.bn1.weight", &[16]),
        ("stage.bn1.bias", &[16]),
        ("stage.conv2.weight", &[16, 8, 3, 1]),
        ("stage.conv2.bias", &[16]),
        ("stage.shortcut.projection.weight", &[16, 8, 1, 1]),
        ("stage.shortcut.projection.bias", &[16]),
        ("fc1.weight", &[10, 16]),
        ("fc1.bias", &[10]),
    ];
    assert_eq!(params, expected);
    assert_eq!(model.classes(), 10);
}

const PATCHES: &str = r#"
layers = [
    { type = "conv", name = "patch_embed", channels = 12, kernel = 8, stride = 8 },
    { type = "sequence" },
    { type = "class-token", name = "cls_token" },
    { type = "positions" },
    { type = "layer-norm", eps = 1e-6, bias = false },
    { type = "residual", layers = [{ type = "linear", features = 12, bias = false }, { type = "gelu_tanh" }] },
    { type = "rms-norm" },
    { type = "linear", features = 20, bias = false },
    { type = "swiglu" },
    { type = "linear", name = "square", features = 10 },
    { type = "tied-linear", weight = "square.weight" },
    { type = "token", index = 0 },
]
"#;

/// Layers of transformers, by their names in files and by the builder's methods.
#[test]
fn a_file_may_hold_what_transformers_are_made_of() {
    let model = model(PATCHES).unwrap();
    let params: Vec<(&str, &[usize])> =
        model.graph.params().iter().map(|param| (param.name.as_str(), param.shape.as_slice())).collect();
    let expected: [(&str, &[usize]); 10] = [
        ("patch_embed.weight", &[12, 3, 8, 8]),
        ("patch_embed.bias", &[12]),
        ("cls_token", &[1, 1, 12]),
        ("positions1.weight", &[17, 12]),
        ("ln1.weight", &[12]),
        ("block1.fc1.weight", &[12, 12]),
        ("rms1.weight", &[12]),
        ("fc1.weight", &[20, 12]),
        ("square.weight", &[10, 10]),
        ("square.bias", &[10]),
    ];
    assert_eq!(params, expected);
    let linear = |features| LinearOptions { features, bias: false };
    let built = Sequential::with_input(ValueShape::Image { channels: 3, height: 32, width: 32 })
        .conv(12, ConvOptions { stride: [8, 8], ..ConvOptions::square(8) }, true)
        .sequence()
        .class_token()
        .positions()
        .norm_with(NormOptions { eps: 1e-6, bias: false, ..NormOptions::LAYER })
        .residual(|block| block.linear_with(linear(12)).gelu_tanh())
        .norm_with(NormOptions::RMS)
        .linear_with(linear(20))
        .swiglu()
        .linear(10)
        .tied_linear("fc3.weight")
        .token(0)
        .build()
        .unwrap();
    // But for the sum, whose sides are the other way round.
    let operations = |model: &Model| {
        let text = model.graph.canonical_text();
        let lines = text.lines().filter(|line| line.starts_with("operation") && !line.starts_with("operation add"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(operations(&model), operations(&built));
}

#[test]
fn the_file_of_resnet20_is_resnet20() {
    let residual = |layers: &str| format!("[[layers]]\ntype = \"residual\"\n{layers}\n");
    let conv = |channels: usize, stride: usize| {
        format!("{{type=\"conv\",channels={channels},kernel=3,padding=1,stride={stride},bias=false}}")
    };
    let bn = "{type=\"batch-norm\"}";
    let mut text =
        "[[layers]]\ntype='conv'\nchannels=16\nkernel=3\npadding=1\nbias=false\n[[layers]]\ntype='batch-norm'\n[[layers]]\ntype='relu'\n"
            .to_owned();
    for stage in 0..3 {
        for block in 0..3 {
            let (channels, stride) = (16 << stage, if stage > 0 && block == 0 { 2 } else { 1 });
            let main =
                format!("layers = [{}, {bn}, {{type=\"relu\"}}, {}, {bn}]", conv(channels, stride), conv(channels, 1));
            let side = format!("shortcut = [{{type=\"conv\",channels={channels},kernel=1,stride=2,bias=false}}, {bn}]");
            text += &residual(&if stride == 2 { format!("{main}\n{side}") } else { main });
            text += "[[layers]]\ntype = \"relu\"\n";
        }
    }
    text += "[[layers]]\ntype='global-average-pool'\n[[layers]]\ntype='flatten'\n[[layers]]\ntype='linear'\n";
    let (found, expected) = (model(&text).unwrap(), Model::build("resnet20", &Signature::default()).unwrap());
    let shapes = |model: &Model| model.graph.params().iter().map(|param| param.shape.clone()).collect::<Vec<_>>();
    assert_eq!(shapes(&found), shapes(&expected));
    assert_eq!(found.noise_tensors(), expected.noise_tensors());
}

#[test]
fn errors_name_the_layer() {
    let linear = "[[layers]]\ntype='linear'\n";
    for (text, parts) in [
        (linear.to_owned(), vec!["layers[0] (linear)", "an image of 3 x 32 x 32", "flatten it first"]),
        ("[[layers]]\ntype='conv'\nchannels=4\nkernel=40\n".into(), vec!["layers[0] (conv)", "conv conv1", "[40, 40]"]),
        ("[[layers]]\ntype='conv'\nkernel=3\n".into(), vec!["layers[0] (conv)", "channels"]),
        ("[[layers]]\ntype='conv'\nchannels=4\nkernel='a'\n".into(), vec!["layers[0] (conv)", "[height, width]"]),
        ("[[layers]]\ntype='relu'\nslope=1\n".into(), vec!["layers[0] (relu)", "slope"]),
        ("[[layers]]\ntype='swish'\n".into(), vec!["layers[0] (swish)", "silu"]),
        ("[[layers]]\nchannels=3\n".into(), vec!["layers[0] (no type)", "type"]),
        (
            "[[layers]]\ntype='residual'\nlayers=[{type='conv',channels=5,kernel=1}]\n".into(),
            vec!["layers[0] (residual)", "5 x 32 x 32", "3 x 32 x 32"],
        ),
        (
            "[[layers]]\ntype='residual'\nlayers=[]\nshortcut=[{type='group-norm',groups=2}]\n".into(),
            vec!["layers[0].shortcut[0] (group-norm)", "2 groups do not divide"],
        ),
        ("[[layers]]\ntype='flatten'\n".into(), vec!["no layers"]),
        ("[[layers]]\ntype='conv'\nchannels=4\nkernel=3\n".into(), vec!["the last layer gives", "4 x 30 x 30"]),
        ("[[layers]\n".into(), vec!["net.toml", "line 1"]),
        ("[[layers]]\ntype='tied-linear'\nweight='head'\n".into(), vec!["layers[0] (tied-linear)", "called \"head\""]),
        ("depth=3\nlayers=[]\n".into(), vec!["depth"]),
    ] {
        let message = model(&text).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{text}\n{message}\nlacks {part:?}");
        }
    }
    let missing = Model::build("nowhere/net.toml", &Signature::default()).unwrap_err();
    assert!(matches!(&missing, ModelError::Io { path, .. } if path == Path::new("nowhere/net.toml")), "{missing}");
}
