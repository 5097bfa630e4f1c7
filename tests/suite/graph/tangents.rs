//! Calls that no derivative is known of: each is refused by its name, where its part of a product would be 0.

use std::sync::Arc;

use jostle::{
    gpu::{GpuError, Launch},
    graph::{
        Backward, Binding, Call, Forward, Graph, GraphError, Inputs, Kernel, LaunchContext, Op, ParamId, ParamSpec,
        PlanMode, Record, Saved, Schedule, StatId, Tangent, ValueId, ValueShape,
    },
    kernels::{Activation, ConvOptions},
    ops::{Loss, Pool},
};

/// A convolution with `middle` after it, then a linear layer.
fn graph(middle: impl FnOnce(&mut Graph, ValueId) -> ValueId) -> Graph {
    let image = ValueShape::Image { channels: 1, height: 4, width: 4 };
    let (mut graph, input) = Graph::with_input(image).unwrap();
    let value = graph.conv(input, "conv1", 4, ConvOptions::square(1), true).unwrap();
    let value = middle(&mut graph, value);
    let value = graph.flatten(value).unwrap();
    graph.linear(value, "fc", 3, Activation::Identity).unwrap();
    graph
}

fn refused(schedule: &Schedule) -> Vec<&str> {
    let refused = schedule.steps.iter().filter(|step| matches!(step.call.kernel.tangent(), Tangent::Refused));
    refused.map(|step| step.name.as_str()).collect()
}

/// Schedules of training hold calls that those of products have others for.
#[test]
fn training_has_calls_that_are_not_differentiated() {
    let dropout = graph(|graph, value| graph.dropout(value, 0.5).unwrap());
    let norm = graph(|graph, value| graph.batch_norm(value, "bn1").unwrap());
    let pool = graph(|graph, value| {
        let value = graph.activate(value, Activation::Relu).unwrap();
        graph.pool(value, Pool::max(2)).unwrap()
    });
    let cases =
        [(dropout, &["dropout", "dropout"][..]), (norm, &["bn1 forward", "bn1 backward"]), (pool, &["pool backward"])];
    for (graph, calls) in cases {
        let training = Schedule::new(&graph, 2, PlanMode::Train, Loss::Nll).unwrap();
        assert_eq!(refused(&training), calls);
        for mode in [PlanMode::HessianProduct, PlanMode::GaussNewtonProduct] {
            Schedule::new(&graph, 2, mode, Loss::Nll).unwrap();
        }
    }
}

/// An operation whose kernel has no tangent rule.
#[derive(Debug)]
struct Opaque;

impl Kernel for Opaque {
    fn kind(&self) -> &'static str {
        "opaque"
    }

    fn sizes(&self) -> String {
        String::new()
    }

    fn tangent(&self) -> Tangent<'_> {
        Tangent::Refused
    }

    fn flops(&self, _call: &Call) -> u64 {
        0
    }

    fn launches(&self, _call: &Call, _context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(Vec::new())
    }

    fn bind(&self, _call: &Call, _binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        Ok(Box::new(Vec::new()))
    }
}

impl Op for Opaque {
    fn name(&self) -> &'static str {
        "opaque"
    }

    fn canonical_text(&self, _params: &[ParamId], _stats: &[StatId]) -> String {
        "opaque".to_owned()
    }

    fn infer(&self, inputs: &Inputs<'_>) -> Result<ValueShape, GraphError> {
        Ok(inputs.first())
    }

    fn params(&self, _inputs: &Inputs<'_>) -> Result<Vec<ParamSpec>, GraphError> {
        Ok(Vec::new())
    }

    fn kinks(&self) -> Option<&'static str> {
        None
    }

    fn forward(&self, pass: &mut Forward<'_>) -> Result<Saved, GraphError> {
        let operands = [pass.input(0), pass.output()];
        pass.push("opaque forward", Arc::new(Self), operands);
        Ok(Saved::default())
    }

    fn backward(&self, _pass: &mut Backward<'_, '_>) -> Result<(), GraphError> {
        Ok(())
    }
}

#[test]
fn a_call_without_a_rule_is_an_error_that_names_it() {
    let graph = graph(|graph, value| graph.add_op(Arc::new(Opaque), "", &[value]).unwrap());
    Schedule::new(&graph, 2, PlanMode::Train, Loss::Nll).unwrap();
    for mode in [PlanMode::HessianProduct, PlanMode::GaussNewtonProduct] {
        let error = Schedule::new(&graph, 2, mode, Loss::Nll).unwrap_err();
        assert_eq!(error, GraphError::NoDerivative { call: "opaque forward".to_owned() });
    }
}
