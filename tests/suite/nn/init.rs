//! How parameters start: what their operations say, or what was set instead.

use crate::common::{bits, device, network::get, poisoned, run};
use jostle::{
    graph::{GraphError, ParamInit},
    kernels::{Arena, init_normal, init_uniform},
    nn::{Sequential, initialise},
};

const SEED: u64 = 77;

#[test]
fn what_is_set_takes_the_place_of_the_default_of_that_parameter_alone() {
    let gpu = device();
    let mut model = Sequential::new(5).linear(7).relu().linear(3).build().unwrap();
    model.graph.set_init("fc1.weight", ParamInit::Normal { std: 0.5 }).unwrap();
    model.graph.set_init("fc1.bias", ParamInit::Constant(0.25)).unwrap();
    let arena = Arena::new(gpu, model.graph.layout(), &[1.0; 4]).unwrap();
    initialise(gpu, &model, &arena, SEED).unwrap();
    let found = get(gpu, &arena, &arena.weights);

    let drawn = |dispatch: &dyn Fn(&jostle::gpu::View) -> jostle::gpu::Dispatch, count: usize| {
        let weights = poisoned(gpu, count);
        run(gpu, &[&dispatch(&weights.view)]);
        weights.read(gpu)
    };
    let bound = 1.0 / 7f32.sqrt();
    let expected = [
        drawn(&|view| init_normal(gpu, view, 0, 0, SEED, 0.5).unwrap(), 35),
        vec![0.25; 7],
        drawn(&|view| init_uniform(gpu, view, 0, 2, SEED, bound).unwrap(), 21),
        drawn(&|view| init_uniform(gpu, view, 0, 3, SEED, bound).unwrap(), 3),
    ];
    for (tensor, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(bits(found), bits(expected), "{}", model.graph.params()[tensor].name);
    }
}

#[test]
fn the_name_of_no_parameter_is_refused() {
    let mut model = Sequential::new(5).linear(7).build().unwrap();
    let error = model.graph.set_init("fc1", ParamInit::Constant(0.0)).unwrap_err();
    assert_eq!(error, GraphError::Param { name: "fc1".to_owned() });
    assert_eq!(error.to_string(), "no parameter is called \"fc1\"");
}
