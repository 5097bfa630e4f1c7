//! A learned vector before a sequence, and single vectors out of one: what a classifier of sequences reads its answer from.
//!
//! ```text
//! output[n, 0] = token,  output[n, t + 1] = input[n, t]      class token
//! output[n]    = input[n, index]                              token
//! ```
//!
//! Source: Devlin et al., "BERT", 2019; Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021.

use std::sync::Arc;

use serde::Deserialize;

use crate::graph::{
    Backward, Forward, Graph, GraphError, Inputs, Op, ParamId, ParamInit, ParamRole, ParamSpec, Saved, StatId, ValueId,
    ValueShape,
};

use super::{
    column_sum::ColumnSums,
    layer::{LayerKind, NoKeys, keys},
    transformer::TRANSFORMER_STD,
    window::Window,
};

/// A learned vector before a sequence; parameter: the operation's name itself, [1, 1, features].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassToken;

/// One vector of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its position.
    pub index: usize,
}

/// Length and features of the input.
pub(super) fn sequence(inputs: &Inputs<'_>) -> Result<[usize; 2], GraphError> {
    match inputs.first() {
        ValueShape::Sequence { length, features } => Ok([length, features]),
        _ => Err(inputs.refusal("it needs a sequence")),
    }
}

impl ClassToken {
    /// A sequence of `words` elements a sample with a vector of `features` before it.
    fn window(batch: usize, words: usize, features: usize) -> Window {
        Window {
            batch,
            input_stride: words,
            output_stride: words + features,
            from: 0,
            to: features,
            count: words,
            has_input: true,
            head: features,
        }
    }
}

impl Op for ClassToken {
    fn name(&self) -> &'static str {
        "class token"
    }

    fn canonical_text(&self, params: &[ParamId], _stats: &[StatId]) -> String {
        let numbers: Vec<_> = params.iter().map(|ParamId(number)| number.to_string()).collect();
        format!("class-token {}", numbers.join(" "))
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        let [length, features] = sequence(inputs)?;
        Ok(ValueShape::Sequence { length: length + 1, features })
    }

    fn params(&self, inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        let [_, features] = sequence(inputs)?;
        let init = ParamInit::Normal { std: TRANSFORMER_STD };
        Ok(vec![ParamSpec { suffix: "", shape: vec![1, 1, features], role: ParamRole::Weight, init }])
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let input = pass.input_shape(0);
        let kernel = Self::window(pass.batch(), input.words(), input.channels());
        let operands = [pass.output(), pass.input(0), pass.param(0)];
        pass.push(&format!("{} forward", pass.name()), Arc::new(kernel), operands);
        Ok(Saved::default())
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let (batch, input, name) = (pass.batch(), pass.input_shape(0), pass.name());
        let (words, features) = (input.words(), input.channels());
        let sums = ColumnSums { rows: batch, columns: features, stride: words + features };
        let operands = [pass.gradient(), pass.param_gradient(0)];
        pass.push(&format!("{name} weight gradient"), Arc::new(sums), operands);
        if let Some(result) = pass.input_gradient(0) {
            let Window { input_stride, output_stride, from, to, .. } = Self::window(batch, words, features);
            let kernel = Window {
                batch,
                input_stride: output_stride,
                output_stride: input_stride,
                from: to,
                to: from,
                count: words,
                has_input: true,
                head: 0,
            };
            let operands = [result, pass.gradient()];
            pass.push(&format!("{name} backward"), Arc::new(kernel), operands);
        }
        Ok(())
    }
}

impl Op for Token {
    fn name(&self) -> &'static str {
        "token"
    }

    fn canonical_text(&self, _params: &[ParamId], _stats: &[StatId]) -> String {
        format!("token {}", self.index)
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        let [length, features] = sequence(inputs)?;
        if self.index >= length {
            return Err(inputs.refusal(format!("there is no vector {}", self.index)));
        }
        Ok(ValueShape::Features(features))
    }

    fn params(&self, _inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(Vec::new())
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let kernel = self.window(pass.batch(), pass.input_shape(0));
        let operands = [pass.output(), pass.input(0)];
        pass.push("token forward", Arc::new(kernel), operands);
        Ok(Saved::default())
    }

    fn backward(&self, pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        let forward = self.window(pass.batch(), pass.input_shape(0));
        if let Some(result) = pass.input_gradient(0) {
            let Window { input_stride, output_stride, from, to, .. } = forward;
            let kernel =
                Window { input_stride: output_stride, output_stride: input_stride, from: to, to: from, ..forward };
            let operands = [result, pass.gradient()];
            pass.push("token backward", Arc::new(kernel), operands);
        }
        Ok(())
    }
}

impl Token {
    fn window(self, batch: usize, input: ValueShape) -> Window {
        let features = input.channels();
        Window {
            batch,
            input_stride: input.words(),
            output_stride: features,
            from: self.index * features,
            to: 0,
            count: features,
            has_input: true,
            head: 0,
        }
    }
}

/// The layers in files.
pub(super) const LAYERS: &[LayerKind] = &[
    LayerKind {
        name: "class-token",
        stem: Some("cls_token"),
        add: |site, table| {
            let NoKeys {} = keys(table)?;
            Ok(site.graph.class_token(site.input, site.name)?)
        },
    },
    LayerKind {
        name: "token",
        stem: None,
        add: |site, table| {
            let TokenKeys { index } = keys(table)?;
            Ok(site.graph.token(site.input, index)?)
        },
    },
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenKeys {
    #[serde(default)]
    index: usize,
}

impl Graph {
    /// Adds a learned vector before a sequence, which becomes one longer; the parameter is called `name` alone and is
    /// [1, 1, features], as timm's `cls_token`. It starts as N(0, 0.02).
    ///
    /// # Errors
    /// [`GraphError::Shape`] for what is no sequence, [`GraphError::Name`] for a name taken, [`GraphError::TooLarge`] past the kernels.
    pub fn class_token(&mut self, input: ValueId, name: &str) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(ClassToken), name, &[input])
    }

    /// Adds the choice of one vector of a sequence, from 0 on, as a row of features.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for what is no sequence, or one that is too short.
    pub fn token(&mut self, input: ValueId, index: usize) -> Result<ValueId, GraphError> {
        self.add_op(Arc::new(Token { index }), "", &[input])
    }
}
