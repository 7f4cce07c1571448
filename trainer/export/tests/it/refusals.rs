//! Networks and infos that no format could hold.

use export::{
    Calibration, ModelFile, ModelInfo, Numbers, PhotoSource, SourceError, write_onnx, write_tflite,
};
use graph::{Activation, Graph, Op};

use crate::networks::{info, measured, network, normalised, photo};

fn refused_info(change: impl Fn(&mut ModelInfo)) -> String {
    let mut info = info();
    change(&mut info);
    write_onnx(&network(1), &info).unwrap_err().to_string()
}

fn refused_graph(change: impl Fn(&mut Graph)) -> String {
    let mut graph = network(1);
    change(&mut graph);
    write_onnx(&graph, &info()).unwrap_err().to_string()
}

#[test]
fn an_info_that_does_not_fit_is_refused_with_the_reason() {
    let cases = [
        (
            refused_info(|info| drop(info.labels.pop())),
            "4 labels for 5 logits",
        ),
        (
            refused_info(|info| info.labels[1] = "ant".to_owned()),
            "stands there twice",
        ),
        (
            refused_info(|info| info.labels[1] = "a\nb".to_owned()),
            "not one line of text",
        ),
        (
            refused_info(|info| info.labels[1] = String::new()),
            "not one line of text",
        ),
        (
            refused_info(|info| info.input.size = 224),
            "an input of 224",
        ),
        (refused_info(|info| info.input.std[2] = 0.0), "std above 0"),
        (
            refused_info(|info| info.temperature = f32::NAN),
            "a temperature of NaN",
        ),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_network_that_does_not_hold_together_is_refused_with_the_node() {
    let conv = |graph: &mut Graph, change: fn(&mut graph::Conv2d)| match &mut graph.nodes[1].op {
        Op::Conv2d(conv) => change(conv),
        _ => unreachable!(),
    };
    let cases = [
        (
            refused_graph(|g| conv(g, |c| c.weights[3] = f32::INFINITY)),
            "stem: weights are not finite",
        ),
        (
            refused_graph(|g| conv(g, |c| c.activation = Activation::Identity)),
            "pool: a padded pool",
        ),
        (
            refused_graph(|g| conv(g, |c| c.bias.truncate(1))),
            "stem: sizes do not fit",
        ),
        (
            refused_graph(|g| conv(g, |c| c.padding.top = 3)),
            "stem: a window of",
        ),
        (
            refused_graph(|g| g.nodes[5].inputs[1] = 9),
            "block.sum: reads",
        ),
        (
            refused_graph(|g| g.nodes[4].name = "stem".to_owned()),
            "stem: the name",
        ),
        (
            refused_graph(|g| g.output = 8),
            "wide: the output is no vector",
        ),
        (refused_graph(|g| g.output = 99), "no such output"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message}");
    }
}

type Get = fn(usize) -> Result<Vec<f32>, SourceError>;

#[test]
fn a_calibration_is_of_this_network_and_of_photos() {
    let (graph, info) = (network(1), info());
    let refused = |count, get: Get| {
        let photos = PhotoSource { count, get: &get };
        Calibration::measure(&graph, &photos, 2).unwrap_err()
    };
    let error = refused(0, |_| unreachable!("there is none"));
    assert_eq!(error.to_string(), "calibration needs at least one photo");
    let error = refused(1, |_| Ok(vec![0.0; 7]));
    assert!(
        error.to_string().contains("photo 0 has 7 values"),
        "{error}"
    );
    let error = refused(9, |_| Err("the disk is gone".into()));
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "the disk is gone");

    let mut other = measured(&graph, &[normalised(&photo(1), &info)]);
    other.ranges.pop();
    let message = write_tflite(&graph, &info, Numbers::Int8(&other)).unwrap_err();
    assert!(
        message
            .to_string()
            .contains("13 calibrated ranges for 14 nodes")
    );
}

#[test]
fn a_photo_of_another_size_is_refused() {
    let (graph, info) = (network(1), info());
    let calibration = measured(&graph, &[normalised(&photo(1), &info)]);
    for file in ModelFile::ALL {
        let bytes = file.write(&graph, &info, &calibration).unwrap();
        let mut model = file.read(&bytes).unwrap();
        assert!(model.logits(&[0.5; 10]).is_err(), "{file:?}");
        assert!(model.logits(&photo(2)).is_ok(), "{file:?}");
    }
}
