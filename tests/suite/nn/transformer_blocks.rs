//! Transformers' blocks in files and in the builder.

use std::path::PathBuf;

use jostle::{
    graph::{ParamInit, ValueShape},
    kernels::Activation,
    nn::{Model, ModelError, Sequential, Signature},
    noise::Grouping,
    ops::{BlockOptions, GPT_NAMES, MlpKind, NormKind},
};

const TEXT: ValueShape = ValueShape::Tokens { length: 16, vocabulary: 11 };

fn model(text: &str) -> Result<Model, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("net.toml");
    std::fs::write(&path, text).unwrap();
    Model::build(path.to_str().unwrap(), &Signature { input: TEXT, classes: 11 })
}

fn file(block: &str) -> String {
    let head = "[[layers]]\ntype = \"embedding\"\nname = \"wte\"\nfeatures = 12\nstd = 0.02\n\n[[layers]]\ntype = \"positions\"\nname = \"wpe\"\n";
    let tail = "[[layers]]\ntype = \"rms-norm\"\n\n[[layers]]\ntype = \"tied-linear\"\nweight = \"wte.weight\"\n";
    format!("{head}\n[[layers]]\ntype = \"transformer-block\"\n{block}\n{tail}")
}

fn names(model: &Model) -> Vec<&str> {
    model.graph.params().iter().map(|param| param.name.as_str()).collect()
}

#[test]
fn a_block_without_biases_has_swiglu_and_rms_norms() {
    let model = model(&file(
        "name = \"h\"\nheads = 3\ncausal = true\nbias = false\nnorm = \"rms\"\nmlp = \"swiglu\"\nhidden = 20\nrepeat = 2\n",
    ))
    .unwrap();
    let block = |n: usize| {
        ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"]
            .map(|part| format!("h.{n}.{part}.weight"))
    };
    let expected: Vec<String> = ["wte.weight", "wpe.weight"]
        .map(str::to_owned)
        .into_iter()
        .chain([0, 1].into_iter().flat_map(block))
        .chain(["rms1.weight".to_owned()])
        .collect();
    assert_eq!(names(&model), expected);
    let shape = |name: &str| &model.graph.params().iter().find(|param| param.name == name).unwrap().shape;
    assert_eq!(shape("h.1.attn.c_attn.weight"), &[36, 12]);
    assert_eq!(shape("h.1.mlp.c_fc.weight"), &[40, 12]);
    assert_eq!(shape("h.1.mlp.c_proj.weight"), &[12, 20]);
    assert_eq!(model.graph.blocks(), ["h.0", "h.1"]);
    let normals = |param: &jostle::graph::Param| param.init == ParamInit::Normal { std: 0.02 };
    assert_eq!(model.graph.params().iter().filter(|param| normals(param)).count(), 2 + 2 * 4);
}

#[test]
fn a_packed_tensor_is_three_groups_of_projections_and_its_block_one() {
    let model = model(&file("name = \"h\"\nheads = 3\nrepeat = 2\n")).unwrap();
    let groups = |grouping: Grouping| grouping.groups(&model.graph.layout(), &model.noise_tensors());
    let tensors = model.graph.params().len();
    // q, k, v of a weight and of a bias in each of two blocks, in place of one each.
    assert_eq!(groups(Grouping::Projection).len(), tensors + 2 * 2 * 2);
    // wte and wpe, two blocks, the last norm.
    assert_eq!(groups(Grouping::Block).len(), 5);
}

#[test]
fn the_builder_makes_what_a_file_does() {
    let options = BlockOptions {
        heads: 3,
        hidden: 48,
        causal: true,
        bias: true,
        dropout: 0.0,
        mlp: MlpKind::Plain(Activation::Gelu),
        norm: NormKind::Layer,
        eps: 1e-5,
        names: GPT_NAMES,
    };
    let built = Sequential::with_input(TEXT).embedding(12).transformer_block(&options).linear(11).build().unwrap();
    let text = "[[layers]]\ntype = \"embedding\"\nfeatures = 12\n[[layers]]\ntype = \"transformer-block\"\nheads = 3\ncausal = true\n[[layers]]\ntype = \"linear\"\n";
    let read = model(text).unwrap();
    assert_eq!(names(&built), names(&read));
    assert_eq!(built.graph, read.graph);
}

#[test]
fn what_is_wrong_in_a_block_is_said_of_its_layer() {
    for (block, part) in [
        ("heads = 5\n", "5 heads"),
        ("heads = 3\nmlp = \"swish\"\n", "unknown activation \"swish\""),
        ("heads = 3\nnorm = \"batch\"\n", "batch"),
        ("heads = 3\ndropout = 1.5\n", "probability 1.5"),
        ("causal = true\n", "heads"),
        ("heads = 3\nrepeat = 0\n", "repeat: expected from 1 to 1000, found 0"),
        ("heads = 3\nrepeat = 4000000000\n", "repeat: expected from 1 to 1000, found 4000000000"),
        ("heads = 3\nmlp = \"swiglu\"\nhidden = 9223372036854775807\n", "more than 4294967295 elements"),
    ] {
        let message = model(&file(block)).unwrap_err().to_string();
        assert!(message.contains("layers[2] (transformer-block)") && message.contains(part), "{block}: {message}");
    }
    let message = model("[[layers]]\ntype = \"embedding\"\nfeatures = 4\nstd = -1.0\n").unwrap_err().to_string();
    assert!(message.contains("layers[0] (embedding)") && message.contains("expected a number from 0 on"), "{message}");
}
