//! The interpreter against the definitions, written out as seven loops.

use export::Interpreter;
use graph::{Activation, Conv2d, Graph, Op, Shape};

use crate::networks::{Random, network};

fn activate(value: f32, activation: Activation) -> f32 {
    match activation {
        Activation::Identity => value,
        Activation::Relu => value.max(0.0),
        Activation::Relu6 => value.clamp(0.0, 6.0),
    }
}

/// `out[y][x][o] = activation(bias[o] + sum of in[..][..][c] * weight[o][ky][kx][c])`
fn by_definition(conv: &Conv2d, input: &[f32], from: Shape, to: Shape) -> Vec<f32> {
    let group_in = conv.in_channels / conv.groups;
    let group_out = conv.out_channels / conv.groups;
    let mut out = Vec::new();
    for (y, x) in (0..to.height).flat_map(|y| (0..to.width).map(move |x| (y, x))) {
        for o in 0..conv.out_channels {
            let mut sum = f64::from(conv.bias[o]);
            for (ky, kx) in
                (0..conv.kernel[0]).flat_map(|ky| (0..conv.kernel[1]).map(move |kx| (ky, kx)))
            {
                let row = (y * conv.stride[0] + ky) as isize - conv.padding.top as isize;
                let column = (x * conv.stride[1] + kx) as isize - conv.padding.left as isize;
                let inside = (0..from.height as isize).contains(&row)
                    && (0..from.width as isize).contains(&column);
                for c in 0..group_in {
                    let weight = ((o * conv.kernel[0] + ky) * conv.kernel[1] + kx) * group_in + c;
                    let channel = o / group_out * group_in + c;
                    let place = (row * from.width as isize + column) * from.channels as isize;
                    let value = if inside {
                        input[place as usize + channel]
                    } else {
                        0.0
                    };
                    sum += f64::from(value) * f64::from(conv.weights[weight]);
                }
            }
            out.push(activate(sum as f32, conv.activation));
        }
    }
    out
}

#[test]
fn convolutions_are_what_their_definition_says() {
    let whole = network(3);
    let mut num_convolutions = 0;
    let shapes = whole.shapes().unwrap();
    let photo = Random(5).values(shapes[0].height * shapes[0].width * 3, 2.0);
    let mut interpreter = Interpreter::new(&whole).unwrap();
    interpreter.run(&photo);
    for (id, node) in whole.nodes.iter().enumerate() {
        let Op::Conv2d(conv) = &node.op else { continue };
        let input = node.inputs[0];
        let expected = by_definition(conv, interpreter.values(input), shapes[input], shapes[id]);
        let found = interpreter.values(id);
        let difference = crate::networks::largest_difference(&expected, found);
        assert!(difference < 1e-5, "{}: {difference}", node.name);
        num_convolutions += 1;
    }
    assert_eq!(num_convolutions, 6);
}

#[test]
fn interpreter_and_executor_agree() {
    let graph: Graph = network(8);
    let photo = Random(9).values(graph.input.height * graph.input.width * 3, 2.0);
    let mut executor = graph::Executor::new(&graph).unwrap();
    let expected = executor.run(&photo).unwrap().logits.to_vec();
    let found = Interpreter::new(&graph).unwrap().run(&photo).to_vec();
    assert!(crate::networks::largest_difference(&expected, &found) < 1e-4);
}
