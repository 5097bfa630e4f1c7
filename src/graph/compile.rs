//! A graph as a schedule: forward operation by operation, the loss, backward in reverse, tangents.

use std::sync::Arc;

use crate::{gpu::Element, kernels::Target};

use super::{
    Destination, Forward, Graph, GraphError, LossFunction, Node, OperandAccess, OutputShape, PlanMode, Saved, Schedule,
    SlotId, Tensor, ValueId,
    backward::{BackwardPass, Flow},
    op_pass::{Placed, Site},
    tangent,
};

/// What forward leaves for backward.
struct Forwarded {
    /// Slot of each value.
    values: Vec<SlotId>,
    /// Each node's place.
    sites: Vec<Site>,
    /// What each node keeps.
    saved: Vec<Saved>,
}

impl Schedule {
    /// The calls of a batch of `batch` samples, all tensors in f32.
    ///
    /// # Errors
    /// As [`Schedule::stored`].
    pub fn new(
        graph: &Graph,
        batch: usize,
        mode: PlanMode,
        loss: impl Into<Arc<dyn LossFunction>>,
    ) -> Result<Self, GraphError> {
        Self::stored(graph, batch, mode, loss, Element::Word)
    }

    /// As [`Schedule::stored`], the way it is run there: each operation in the form that suits the target's class, or, where a
    /// kernel is refused on the device, in its [ordinary](Graph::ordinary) one; and what is past the target's bindings in parts.
    ///
    /// # Errors
    /// As [`Schedule::stored`].
    pub fn suited<'a>(
        graph: &Graph,
        batch: usize,
        mode: PlanMode,
        loss: impl Into<Arc<dyn LossFunction>>,
        element: Element,
        destination: impl Into<Destination<'a>>,
    ) -> Result<Self, GraphError> {
        let (destination, loss) = (destination.into(), loss.into());
        let Target { class, limits } = destination.target();
        let graph = graph.suited(class);
        let mut schedule = Self::stored(&graph, batch, mode, loss.clone(), element)?;
        if !destination.admits(&schedule) {
            schedule = Self::stored(&graph.ordinary(), batch, mode, loss, element)?;
        }
        Ok(schedule.within_bindings(limits))
    }

    /// The calls of a batch of `batch` samples; activations and the weights that the network sees are stored as `element`,
    /// which for derivatives along a direction has to be f32.
    ///
    /// # Errors
    /// [`GraphError::NoLayers`], [`GraphError::NoBatch`], [`GraphError::Shape`] for an output that is an image or tokens, or a
    /// batch that is too large, or [`GraphError::NoDerivative`] for an operation that no derivative is known of.
    pub fn stored(
        graph: &Graph,
        batch: usize,
        mode: PlanMode,
        loss: impl Into<Arc<dyn LossFunction>>,
        element: Element,
    ) -> Result<Self, GraphError> {
        let mut schedule = Self::empty(graph, batch, mode, element)?;
        let graph = &graph.fused(mode.has_tangents());
        let forward = schedule.forward(graph)?;
        schedule.output = forward.values[graph.output().0];
        let outputs = schedule.operand(Tensor::Slot(schedule.output), OperandAccess::Read);
        let loss = loss.into();
        if let Some(gradient) = schedule.push_loss(&*loss, outputs)
            && mode.has_backward()
        {
            let mut pass = BackwardPass::new(&mut schedule, forward.flows(graph, mode), graph.input());
            pass.begin(graph.output(), gradient);
            let nodes = graph.nodes().iter().zip(&forward.sites).zip(&forward.saved);
            for (number, ((node, site), saved)) in nodes.enumerate().rev() {
                if let Some(mut pass) = pass.at(number, site, saved, &node.inputs, node.output) {
                    node.op.backward(&mut pass)?;
                }
            }
            if mode.trains() {
                schedule.put_gradient_in_place(&*loss, gradient);
            }
        }
        if mode.has_tangents() {
            tangent::differentiate(&mut schedule)?;
        }
        Ok(schedule)
    }

    fn empty(graph: &Graph, batch: usize, mode: PlanMode, element: Element) -> Result<Self, GraphError> {
        if graph.params().is_empty() {
            return Err(GraphError::NoLayers);
        }
        if batch == 0 {
            return Err(GraphError::NoBatch);
        }
        Ok(Self {
            batch,
            input: graph.shape(graph.input()),
            outputs: OutputShape::new(batch, graph.shape(graph.output()))?,
            slots: Vec::new(),
            steps: Vec::new(),
            output_columns: None,
            prepared: 0,
            output: SlotId(0),
            mode,
            element,
            param_lens: graph.params().iter().map(|param| param.shape.iter().product()).collect(),
            stat_lens: graph.stats().iter().map(|stat| stat.channels).collect(),
        })
    }

    fn forward(&mut self, graph: &Graph) -> Result<Forwarded, GraphError> {
        let input = self.push_gather();
        // A value that no operation makes (its maker was fused) keeps the input's slot: nothing reads it.
        let mut forward = Forwarded { values: vec![input; graph.value_count()], sites: Vec::new(), saved: Vec::new() };
        for node in graph.nodes() {
            let output = self.activation("activation", graph.shape(node.output).words());
            forward.values[node.output.0] = output.slot().unwrap_or(input);
            let site = forward.site(graph, node);
            let saved = node.op.forward(&mut Forward::new(self, &site))?;
            forward.sites.push(site);
            forward.saved.push(saved);
        }
        Ok(forward)
    }
}

impl Forwarded {
    fn site(&self, graph: &Graph, node: &Node) -> Site {
        let placed = |value: ValueId| Placed { slot: self.values[value.0], shape: graph.shape(value) };
        Site {
            operation: node.op.name(),
            name: module_name(graph, node),
            inputs: node.inputs.iter().map(|input| placed(*input)).collect(),
            output: placed(node.output),
            params: node.params.clone(),
            stats: node.stats.clone(),
        }
    }

    /// What backward knows of each value: derivatives of activations go in where gradients are made in training alone, since
    /// derivatives along a direction take them apart.
    fn flows(&self, graph: &Graph, mode: PlanMode) -> Vec<Flow> {
        let flow = |value| {
            let readers = graph.nodes().iter().enumerate().filter(|(_, node)| node.inputs.contains(&value));
            let made_at = graph.nodes().iter().position(|node| node.output == value);
            Flow::new(graph.shape(value), made_at, readers.map(|(number, _)| number).collect())
        };
        let mut flows: Vec<_> = (0..graph.value_count()).map(|value| flow(ValueId(value))).collect();
        let makers = graph.nodes().iter().zip(&self.saved);
        for (node, saved) in makers.filter(|(node, _)| mode.trains() && graph.uses(node.output) == 1) {
            flows[node.output.0].activation = saved.activation;
        }
        flows
    }
}

/// `fc1` of `fc1.weight`, where an earlier operation brought that one `fc1 tied`.
fn module_name(graph: &Graph, node: &Node) -> String {
    let Some(param) = node.params.first() else { return node.op.name().to_owned() };
    let name = graph.params()[param.0].name.as_str();
    let module = name.rsplit_once('.').map_or(name, |(module, _)| module);
    let user = graph.nodes().iter().find(|other| other.params.contains(param));
    let is_first = user.is_none_or(|user| user.output == node.output);
    if is_first { module.to_owned() } else { format!("{module} tied") }
}
