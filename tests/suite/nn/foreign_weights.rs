//! Files of weights with other programs' names and layouts: the logits of Hugging Face's GPT-2 and of timm's ViT-Ti, both ways.
//!
//! `scripts/make_transformer_parity.py` made the logits, by those libraries in float64, of weights that both sides draw.

use std::collections::HashMap;

use crate::common::{
    device,
    images::hashed_images,
    parity_file,
    transformers::{IMAGES, LENGTH, TEXT, VOCABULARY, hashed_text, hashed_weights},
};
use jostle::{
    data::{Dataset, SampleShape, Targets},
    graph::ValueShape,
    kernels::Arena,
    nn::{self, Model, NamedTensor, Signature, WeightsError, WeightsFormat, read_tensors, write_tensors},
    ops::Loss,
    train::Evaluator,
};

#[derive(serde::Deserialize)]
struct Foreign {
    format: WeightsFormat,
    model: String,
    /// Names and shapes of the library's file.
    tensors: Vec<(String, Vec<usize>)>,
    every: usize,
    logits: Vec<f64>,
}

#[derive(serde::Deserialize)]
struct Manifest {
    foreign: Vec<Foreign>,
}

fn foreign() -> Vec<Foreign> {
    let text = std::fs::read_to_string(parity_file("transformers.json")).unwrap();
    serde_json::from_str::<Manifest>(&text).unwrap().foreign
}

fn gpt() -> Foreign {
    foreign().into_iter().find(|case| case.model.starts_with("gpt")).unwrap()
}

impl Foreign {
    fn build(&self) -> Model {
        let input = ValueShape::Tokens { length: LENGTH, vocabulary: VOCABULARY };
        let text = Signature { input, classes: VOCABULARY };
        let is_gpt = self.model.starts_with("gpt");
        Model::build(&self.model, &if is_gpt { text } else { Signature::default() }).unwrap()
    }

    /// Two windows of the text, or two images.
    fn data(&self) -> Dataset {
        if !self.model.starts_with("gpt") {
            return hashed_images(IMAGES, 2);
        }
        let tokens: Vec<u32> = hashed_text().into_iter().map(u32::from).take(2 * LENGTH + 1).collect();
        let next = Targets::Tokens { tokens: tokens[1..].to_vec(), length: LENGTH, vocabulary: VOCABULARY };
        let shape = SampleShape { channels: 1, height: 1, width: LENGTH };
        Dataset::from_arrays(&format!("text {TEXT}"), tokens[..2 * LENGTH].to_vec(), next, shape).unwrap()
    }
}

struct Loaded {
    model: Model,
    arena: Arena,
}

impl Loaded {
    fn new(case: &Foreign) -> Self {
        let model = case.build();
        let arena = Arena::new(device(), model.graph.layout(), &vec![0.0; model.graph.params().len()]).unwrap();
        Self { model, arena }
    }

    fn load(&self, tensors: &[NamedTensor], format: WeightsFormat) -> Result<(), WeightsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("foreign.safetensors");
        write_tensors(&path, tensors, HashMap::new()).unwrap();
        nn::load_as(device(), &self.model, &self.arena, &path, format)
    }

    fn logits(&self, data: Dataset) -> Vec<f32> {
        let gpu = device();
        let evaluator = Evaluator::new(gpu, &self.model, &self.arena, data, &[[0.0, 1.0]; 3], Loss::Nll).unwrap();
        evaluator.outputs(gpu).unwrap().1
    }

    /// What `jostle export --weights` writes.
    fn written(&self, format: WeightsFormat) -> Vec<NamedTensor> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.safetensors");
        nn::save(device(), &self.model, &self.arena, &self.arena.weights, &path).unwrap();
        format.written(read_tensors(&path).unwrap())
    }
}

fn by_name(mut tensors: Vec<NamedTensor>) -> Vec<NamedTensor> {
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors
}

fn named<'t>(tensors: &'t mut [NamedTensor], name: &str) -> &'t mut NamedTensor {
    tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

#[test]
fn the_libraries_files_give_the_libraries_logits_and_come_back_as_they_were() {
    let cases = foreign();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let (loaded, tensors) = (Loaded::new(&case), hashed_weights(&case.tensors));
        loaded.load(&tensors, case.format).unwrap();
        let found: Vec<f32> = loaded.logits(case.data()).into_iter().step_by(case.every).collect();
        assert_eq!(found.len(), case.logits.len(), "{}", case.model);
        let worst = found.iter().zip(&case.logits).map(|(f, e)| (f64::from(*f) - e).abs()).fold(0.0, f64::max);
        println!("{}: {worst:.1e}", case.model);
        assert!(worst <= 1e-4 && found.iter().all(|value| value.is_finite()), "{}: {worst}", case.model);
        assert_eq!(by_name(loaded.written(case.format)), by_name(tensors), "{}", case.model);
    }
}

#[test]
fn names_may_lack_their_beginning_and_masks_are_no_weights() {
    let case = gpt();
    let loaded = Loaded::new(&case);
    let mut tensors = hashed_weights(&case.tensors);
    loaded.load(&tensors, case.format).unwrap();
    let expected = loaded.logits(case.data());
    tensors.iter_mut().for_each(|tensor| tensor.name = tensor.name.trim_start_matches("transformer.").to_owned());
    let mask = |name: &str, shape: Vec<usize>| NamedTensor {
        name: name.to_owned(),
        values: vec![1.0; shape.iter().product()],
        shape,
    };
    tensors.push(mask("h.0.attn.bias", vec![1, 1, LENGTH, LENGTH]));
    tensors.push(mask("h.0.attn.masked_bias", vec![1]));
    let again = Loaded::new(&case);
    again.load(&tensors, case.format).unwrap();
    assert_eq!(again.logits(case.data()), expected);
}

#[test]
fn nanogpts_files_hold_the_head_beside_the_embedding() {
    let case = gpt();
    let loaded = Loaded::new(&case);
    loaded.load(&hashed_weights(&case.tensors), case.format).unwrap();
    let expected = loaded.logits(case.data());
    let mut tensors = loaded.written(WeightsFormat::NanoGpt);
    assert_eq!(tensors.len(), loaded.model.graph.params().len() + 1);
    assert_eq!(named(&mut tensors, "transformer.h.0.attn.c_attn.weight").shape, [180, 60]);
    tensors.iter_mut().for_each(|tensor| tensor.name = format!("_orig_mod.{}", tensor.name));
    let again = Loaded::new(&case);
    again.load(&tensors, WeightsFormat::NanoGpt).unwrap();
    assert_eq!(again.logits(case.data()), expected);
    named(&mut tensors, "_orig_mod.lm_head.weight").values[5] += 1.0;
    let error = again.load(&tensors, WeightsFormat::NanoGpt).unwrap_err().to_string();
    assert!(
        error.contains("\"lm_head.weight\" is of other values") && error.contains("transformer.wte.weight"),
        "{error}"
    );
}

#[test]
fn the_first_tensor_that_does_not_fit_is_named() {
    let case = gpt();
    let loaded = Loaded::new(&case);
    let tensors = hashed_weights(&case.tensors);
    // Another program's file, taken for another's still.
    let error = loaded.load(&tensors, WeightsFormat::NanoGpt).unwrap_err().to_string();
    assert!(
        error.contains("\"transformer.h.0.attn.c_attn.weight\" is [60, 180], the model expects [180, 60]"),
        "{error}"
    );
    let mut narrow = tensors.clone();
    *named(&mut narrow, "transformer.h.1.mlp.c_fc.weight") = NamedTensor {
        name: "transformer.h.1.mlp.c_fc.weight".to_owned(),
        shape: vec![60, 239],
        values: vec![0.0; 60 * 239],
    };
    let error = loaded.load(&narrow, case.format).unwrap_err().to_string();
    assert!(error.contains("\"transformer.h.1.mlp.c_fc.weight\" is [60, 239], the model expects [60, 240]"), "{error}");
    let (_, fewer) = tensors.split_first().unwrap();
    let error = loaded.load(fewer, case.format).unwrap_err().to_string();
    assert!(error.contains(&format!("no tensor {:?}", tensors[0].name)), "{error}");
    let mut more = tensors;
    more.push(NamedTensor { name: "transformer.h.9.extra".to_owned(), shape: vec![1], values: vec![0.0] });
    let error = loaded.load(&more, case.format).unwrap_err().to_string();
    assert!(error.contains("\"transformer.h.9.extra\" has no place in the model"), "{error}");
}
