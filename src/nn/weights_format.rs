//! Whose names and layouts a file of weights has.

use std::path::Path;

use crate::names::named;

use super::{Model, NamedTensor, WeightsError, weights::TensorFile};

named!("weights format",
    /// Whose names and layouts a file of weights has.
    #[derive(Default)]
    WeightsFormat {
        /// Jostle's own, which are PyTorch's; of transformers nanoGPT's and timm's.
        #[default]
        Jostle = "jostle",
        /// nanoGPT's `state_dict`: the tied head beside the embedding, `_orig_mod.` of a compiled model before names.
        NanoGpt = "nanogpt",
        /// Hugging Face's GPT-2: its four linear layers transposed (`Conv1D`), names with or without `transformer.`.
        HuggingFace = "huggingface",
        /// timm's vision transformers.
        Timm = "timm",
    }
);

/// What `torch.compile` puts before names.
const COMPILED: &str = "_orig_mod.";
/// Before the names of all but the head.
const BODY: &str = "transformer.";
/// The tied head, and what it is tied to.
const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "transformer.wte.weight";
/// Buffers of causal masks, which are no weights.
const MASKS: [&str; 2] = [".attn.bias", ".attn.masked_bias"];
/// Layers that are `Conv1D` in Hugging Face's GPT-2: weights [in, out].
const TRANSPOSED: [&str; 4] = [".attn.c_attn.weight", ".attn.c_proj.weight", ".mlp.c_fc.weight", ".mlp.c_proj.weight"];

impl WeightsFormat {
    /// Whether it is Jostle's own.
    #[must_use]
    pub fn is_jostle(&self) -> bool {
        *self == Self::Jostle
    }

    /// Whether the file is of a GPT-2.
    fn is_gpt(self) -> bool {
        matches!(self, Self::NanoGpt | Self::HuggingFace)
    }

    /// The name that a tensor of the file has here.
    fn own_name(self, name: &str) -> String {
        if self.is_jostle() {
            return name.to_owned();
        }
        let name = name.strip_prefix(COMPILED).unwrap_or(name);
        let is_bare = self == Self::HuggingFace && !name.starts_with(BODY) && name != HEAD;
        if is_bare { format!("{BODY}{name}") } else { name.to_owned() }
    }

    /// Whether the file has a weight by columns.
    fn transposes(self, name: &str, shape: &[usize]) -> bool {
        self == Self::HuggingFace && shape.len() == 2 && TRANSPOSED.iter().any(|end| name.ends_with(end))
    }

    /// The file's tensors in the order of the model's parameters and running statistics, each in its shape.
    ///
    /// # Errors
    /// [`WeightsError`] naming the first tensor that does not fit, by name and shape as the file has them.
    pub(crate) fn read(
        self,
        path: &Path,
        model: &Model,
        tensors: Vec<NamedTensor>,
    ) -> Result<Vec<NamedTensor>, WeightsError> {
        let is_mask = |name: &str| self.is_gpt() && MASKS.iter().any(|end| name.ends_with(end));
        let renamed = |tensor: NamedTensor| NamedTensor { name: self.own_name(&tensor.name), ..tensor };
        let tensors = tensors.into_iter().filter(|tensor| !is_mask(&tensor.name)).map(renamed).collect();
        let mut file = TensorFile::new(path, tensors);
        let params = model.graph.params().iter().map(|param| (&param.name, param.shape.clone()));
        let stats = model.graph.stats().iter().map(|stat| (&stat.name, vec![stat.channels]));
        let matched: Vec<NamedTensor> = params
            .chain(stats)
            .map(|(name, shape)| {
                if !self.transposes(name, &shape) {
                    return file.take(name, &shape);
                }
                let stored: Vec<usize> = shape.iter().rev().copied().collect();
                Ok(transposed(file.take(name, &stored)?))
            })
            .collect::<Result<_, _>>()?;
        if self.is_gpt() && file.has(HEAD) {
            check_head(path, &mut file, &matched)?;
        }
        file.finish()?;
        Ok(matched)
    }

    /// Tensors of a model as a file of this format has them.
    #[must_use]
    pub fn written(self, tensors: Vec<NamedTensor>) -> Vec<NamedTensor> {
        let head = tensors.iter().find(|tensor| tensor.name == EMBEDDING && self == Self::NanoGpt);
        let head = head.map(|embedding| NamedTensor { name: HEAD.to_owned(), ..embedding.clone() });
        let stored = |tensor: NamedTensor| {
            if self.transposes(&tensor.name, &tensor.shape) { transposed(tensor) } else { tensor }
        };
        tensors.into_iter().map(stored).chain(head).collect()
    }
}

/// That the head of the file is the embedding, to which the model ties it.
fn check_head(path: &Path, file: &mut TensorFile<'_>, matched: &[NamedTensor]) -> Result<(), WeightsError> {
    let Some(embedding) = matched.iter().find(|tensor| tensor.name == EMBEDDING) else { return Ok(()) };
    let head = file.take(HEAD, &embedding.shape)?;
    if head.values == embedding.values {
        return Ok(());
    }
    let (path, name) = (path.to_owned(), HEAD.to_owned());
    let expected = format!("the values of {EMBEDDING:?}, to which it is tied");
    Err(WeightsError::Tensor { path, name, expected, found: "of other values".to_owned() })
}

/// [rows, columns] by columns.
fn transposed(tensor: NamedTensor) -> NamedTensor {
    let NamedTensor { name, shape, values } = tensor;
    let [rows, columns] = [shape[0], shape[1]];
    let column = |column: usize| values.iter().skip(column).step_by(columns).copied();
    let values = (0..columns).flat_map(column).collect();
    NamedTensor { name, shape: vec![columns, rows], values }
}
