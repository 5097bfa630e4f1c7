//! The text of a graph that checkpoints hash: it stays as it is here, or gets another version.

use jostle::{
    graph::{Graph, ValueShape},
    kernels::{Activation, ConvOptions},
    nn::Model,
    ops::Pool,
};

#[test]
fn every_operation_has_its_line() {
    let image = ValueShape::Image { channels: 1, height: 8, width: 8 };
    let (mut graph, input) = Graph::with_input(image).unwrap();
    let grouped = ConvOptions { groups: 2, stride: [2, 1], ..ConvOptions::square(3).padding(1) };
    let stem = graph.conv(input, "conv1", 4, ConvOptions::square(3).padding(1), true).unwrap();
    let norm = graph.batch_norm(stem, "bn1").unwrap();
    let sum = graph.add(stem, norm).unwrap();
    let active = graph.activate(sum, Activation::Gelu).unwrap();
    let conv = graph.conv(active, "conv2", 4, grouped, false).unwrap();
    let value = graph.group_norm(conv, "gn", 2).unwrap();
    let value = graph.pool(value, Pool::max(2)).unwrap();
    let value = graph.pool(value, Pool::average(2)).unwrap();
    let value = graph.pool(value, Pool::global()).unwrap();
    let value = graph.flatten(value).unwrap();
    let value = graph.dropout(value, 0.3).unwrap();
    let value = graph.linear(value, "fc1", 6, Activation::Identity).unwrap();
    let value = graph.batch_norm(value, "bn2").unwrap();
    graph.layer_norm(value, "ln").unwrap();
    let expected = "\
jostle graph 1
value 0 image 1x8x8
value 1 image 4x8x8
value 2 image 4x8x8
value 3 image 4x8x8
value 4 image 4x8x8
value 5 image 4x4x8
value 6 image 4x4x8
value 7 image 4x2x4
value 8 image 4x1x2
value 9 image 4x1x1
value 10 features 4
value 11 features 4
value 12 features 6
value 13 image 6x1x1
value 14 image 6x1x1
value 15 features 6
value 16 features 6
parameter 0 conv1.weight [4, 1, 3, 3] weight of module 0
parameter 1 conv1.bias [4] bias of module 0
parameter 2 bn1.weight [4] scale of module 1
parameter 3 bn1.bias [4] bias of module 1
parameter 4 conv2.weight [4, 2, 3, 3] weight of module 2
parameter 5 gn.weight [4] scale of module 3
parameter 6 gn.bias [4] bias of module 3
parameter 7 fc1.weight [6, 4] weight of module 4
parameter 8 fc1.bias [6] bias of module 4
parameter 9 bn2.weight [6] scale of module 5
parameter 10 bn2.bias [6] bias of module 5
parameter 11 ln.weight [6] scale of module 6
parameter 12 ln.bias [6] bias of module 6
statistic 0 bn1.running_mean [4]
statistic 1 bn1.running_var [4]
statistic 2 bn2.running_mean [6]
statistic 3 bn2.running_var [6]
operation conv weight 0 bias 1 kernel 3x3 stride 1x1 padding 1x1 dilation 1x1 groups 1 activation identity from 0 into 1
operation batch-norm weight 2 bias 3 running 0 1 eps 0.00001 activation identity from 1 into 2
operation add from 1 2 into 3
operation activate gelu from 3 into 4
operation conv weight 4 bias none kernel 3x3 stride 2x1 padding 1x1 dilation 1x1 groups 2 activation identity from 4 into 5
operation norm weight 5 bias 6 groups 2 per-pixel false eps 0.00001 from 5 into 6
operation max-pool kernel 2x2 stride 2x2 padding 0x0 from 6 into 7
operation average-pool kernel 2x2 stride 2x2 padding 0x0 count-padding true from 7 into 8
operation adaptive-average-pool output 1x1 from 8 into 9
operation flatten from 9 into 10
operation dropout probability 0.3 layer 0 from 10 into 11
operation linear weight 7 bias 8 activation identity from 11 into 12
operation unflatten from 12 into 13
operation batch-norm weight 9 bias 10 running 2 3 eps 0.00001 activation identity from 13 into 14
operation flatten from 14 into 15
operation norm weight 11 bias 12 groups 1 per-pixel true eps 0.00001 from 15 into 16
";
    assert_eq!(graph.canonical_text(), expected);
}

/// What decides the computation changes the text; how parameters start does not.
#[test]
fn other_graphs_have_other_texts() {
    let [relu, tanh] =
        ["mlp:4-3-2", "mlp:4-3-2:tanh"].map(|text| text.parse::<Model>().unwrap().graph.canonical_text());
    assert_ne!(relu, tanh);
    let build = |probability| {
        let (mut graph, input) = Graph::new(4).unwrap();
        let value = graph.dropout(input, probability).unwrap();
        graph.linear(value, "fc1", 2, Activation::Identity).unwrap();
        graph.canonical_text()
    };
    assert_ne!(build(0.25), build(0.250_000_03), "neighbouring numbers of 32 bits");
}

/// Blocks and projections are names for what is there: checkpoints of before stay those of the model.
#[test]
fn blocks_and_projections_do_not_change_the_text() {
    let build = |named: bool| {
        let (mut graph, input) = Graph::new(4).unwrap();
        if named {
            graph.begin_block("h.0");
        }
        let value = graph.linear(input, "attn", 6, Activation::Identity).unwrap();
        graph.end_block();
        if named {
            graph.set_projections("attn.weight", &["q", "k", "v"]).unwrap();
        }
        graph.linear(value, "head", 2, Activation::Identity).unwrap();
        graph.canonical_text()
    };
    assert_eq!(build(true), build(false));
}
