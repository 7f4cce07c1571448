//! What is done for each photo, decided once. Comes in: a graph. Goes out: steps with
//! packed weights, and for each activation a slot of the arena, which it shares with
//! others that live at other times. A sum is done by the convolution before it, and
//! three convolutions of a block band by band.

use pulp::{Arch, Simd, WithSimd};

use super::bands::{self, Bands};
use super::convolution::{Convolution, Source, Target};
use super::depthwise::Depthwise;
use super::layout::Layout;
use super::simple;
use crate::graph::{
    Activation, Conv2d, Graph, GraphError, Linear, NodeId, Op, Padding, Pool, Shape,
};

mod fusion;
use fusion::Fusion;

mod slots;

#[derive(Debug)]
pub(super) struct Plan {
    arch: Arch,
    steps: Vec<Step>,
    pub input: Shape,
    pub features: Layout,
    pub output: Layout,
    /// How each node's values lie, until another node takes their slot.
    pub layouts: Vec<Layout>,
    /// Values in each slot.
    pub slots: Vec<usize>,
}

#[derive(Debug)]
struct Step {
    work: Work,
    input: Layout,
    output: Layout,
}

#[derive(Debug)]
enum Work {
    Input,
    Convolution(Convolution),
    Depthwise(Depthwise),
    Bands(Box<Bands>),
    MaxPool(Pool),
    GlobalAveragePool,
    Add(Layout, Activation),
}

/// What is computed together, and where values lie.
struct Scheme {
    fusion: Fusion,
    layouts: Vec<Layout>,
    slots: Vec<usize>,
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

impl Plan {
    pub fn new(graph: &Graph, arch: Arch) -> Result<Self, GraphError> {
        let shapes = graph.shapes()?;
        let lanes = arch.dispatch(Lanes);
        let mut layouts = layouts(graph, &shapes, lanes);
        let mut fusion = Fusion::of(graph);
        fusion.keep_bands(|[wide, depthwise]| {
            let Op::Conv2d(conv) = &graph.nodes[depthwise].op else {
                return false;
            };
            let whole = [layouts[wide], layouts[depthwise]];
            match bands::layouts(&Depthwise::new(conv, whole[0], lanes), whole) {
                Some(bands) => {
                    [layouts[wide], layouts[depthwise]] = bands;
                    true
                }
                None => false,
            }
        });
        let slots = slots::assign(graph, &fusion, &mut layouts);
        let scheme = Scheme {
            fusion,
            layouts,
            slots,
        };
        Ok(Self::build(graph, arch, scheme))
    }

    /// A plan after whose run the values of every node are there.
    pub fn observed(graph: &Graph, arch: Arch) -> Result<Self, GraphError> {
        let shapes = graph.shapes()?;
        let mut layouts = layouts(graph, &shapes, arch.dispatch(Lanes));
        let slots = slots::one_each(&mut layouts);
        let fusion = Fusion::none(graph);
        let scheme = Scheme {
            fusion,
            layouts,
            slots,
        };
        Ok(Self::build(graph, arch, scheme))
    }

    fn build(graph: &Graph, arch: Arch, scheme: Scheme) -> Self {
        let Scheme {
            fusion,
            layouts,
            slots,
        } = scheme;
        let lanes = arch.dispatch(Lanes);
        let mut steps = Vec::new();
        for (id, node) in graph.nodes.iter().enumerate() {
            if fusion.is_done_elsewhere[id] {
                continue;
            }
            let output = layouts[fusion.target[id]];
            let reads = |id: NodeId| {
                let first = graph.nodes[id].inputs.first();
                first.map_or(output, |&input| layouts[input])
            };
            let convolution = |id: NodeId| {
                let Op::Conv2d(conv) = &graph.nodes[id].op else {
                    unreachable!("bands are made of convolutions");
                };
                let mut packed = Convolution::new(conv, reads(id), lanes);
                if let Some((other, activation)) = fusion.other[id] {
                    packed.add(layouts[other], activation);
                }
                packed
            };
            let (work, input) = match &node.op {
                Op::Input => (Work::Input, output),
                Op::Conv2d(conv) if conv.groups > 1 => {
                    let conv = Depthwise::new(conv, reads(id), lanes);
                    (Work::Depthwise(conv), reads(id))
                }
                Op::Conv2d(_) => match fusion.bands[id] {
                    None => (Work::Convolution(convolution(id)), reads(id)),
                    Some([wide, depthwise]) => {
                        let Op::Conv2d(conv) = &graph.nodes[depthwise].op else {
                            unreachable!("bands are made of convolutions");
                        };
                        let bands = Bands {
                            expand: convolution(wide),
                            depthwise: Depthwise::new(conv, layouts[wide], lanes),
                            project: convolution(id),
                            between: [layouts[wide], layouts[depthwise]],
                        };
                        (Work::Bands(Box::new(bands)), reads(wide))
                    }
                },
                Op::Linear(linear) => {
                    let conv = Convolution::new(&as_convolution(linear), reads(id), lanes);
                    (Work::Convolution(conv), reads(id))
                }
                Op::Add(activation) => {
                    let other = layouts[node.inputs[1]];
                    (Work::Add(other, *activation), reads(id))
                }
                Op::MaxPool(pool) => (Work::MaxPool(*pool), reads(id)),
                Op::GlobalAveragePool => (Work::GlobalAveragePool, reads(id)),
            };
            steps.push(Step {
                work,
                input,
                output,
            });
        }
        Self {
            arch,
            steps,
            input: graph.input,
            features: layouts[graph.features],
            output: layouts[graph.output],
            layouts,
            slots,
        }
    }

    #[cfg(test)]
    pub fn num_bands(&self) -> usize {
        let is_bands = |step: &&Step| matches!(step.work, Work::Bands(_));
        self.steps.iter().filter(is_bands).count()
    }

    /// Computes one photo; the results lie in the slots of `features` and `output`.
    pub fn run(&self, slots: &mut [Vec<f32>], photo: &[f32]) {
        for step in &self.steps {
            let layout = step.output;
            let mut out = std::mem::take(&mut slots[layout.slot]);
            layout.clear_border(&mut out);
            let mut between = [Vec::new(), Vec::new()];
            if let Work::Bands(bands) = &step.work {
                between = bands
                    .between
                    .map(|band| std::mem::take(&mut slots[band.slot]));
            }
            let from = Source {
                values: &slots[step.input.slot],
                layout: step.input,
            };
            let to = Target {
                values: &mut out,
                layout,
                rows: 0..layout.shape.height,
            };
            match &step.work {
                Work::Input => simple::copy_photo(photo, to),
                Work::Convolution(conv) => conv.run(self.arch, slots, from, to),
                Work::Depthwise(conv) => conv.run(self.arch, from, to),
                Work::Bands(bands) => {
                    let [wide, after] = &mut between;
                    bands.run(self.arch, slots, from, [wide, after], to);
                }
                Work::MaxPool(pool) => simple::max_pool(self.arch, *pool, from, to),
                Work::GlobalAveragePool => simple::average(self.arch, from, to),
                Work::Add(other, activation) => {
                    let other = Source {
                        values: &slots[other.slot],
                        layout: *other,
                    };
                    simple::add(self.arch, [from, other], *activation, to);
                }
            }
            slots[layout.slot] = out;
            if let Work::Bands(bands) = &step.work {
                for (band, values) in bands.between.iter().zip(between) {
                    slots[band.slot] = values;
                }
            }
        }
    }
}

fn as_convolution(linear: &Linear) -> Conv2d {
    Conv2d {
        weights: linear.weights.clone(),
        bias: linear.bias.clone(),
        out_channels: linear.out_features,
        in_channels: linear.in_features,
        kernel: [1, 1],
        stride: [1, 1],
        padding: Padding::default(),
        groups: 1,
        activation: linear.activation,
    }
}

/// Each result's layout, without its slot.
fn layouts(graph: &Graph, shapes: &[Shape], lanes: usize) -> Vec<Layout> {
    // A photo that only full convolutions read keeps its three channels: the kernel
    // rows of the stem are then one piece. Everything else works on whole vectors.
    let is_unpadded = |id: NodeId| {
        graph.nodes.iter().all(|node| {
            let is_full = matches!(&node.op, Op::Conv2d(conv) if conv.groups == 1);
            is_full || !node.inputs.contains(&id)
        })
    };
    let mut borders = vec![Padding::default(); shapes.len()];
    for node in &graph.nodes {
        if let Op::Conv2d(conv) = &node.op {
            let border = &mut borders[node.inputs[0]];
            border.top = border.top.max(conv.padding.top);
            border.left = border.left.max(conv.padding.left);
            border.bottom = border.bottom.max(conv.padding.bottom);
            border.right = border.right.max(conv.padding.right);
        }
    }
    let layout = |(id, &shape): (NodeId, &Shape)| Layout {
        shape,
        pitch: match graph.nodes[id].op {
            Op::Input if is_unpadded(id) => shape.channels,
            _ => shape.channels.next_multiple_of(lanes),
        },
        border: borders[id],
        rows: borders[id].top + shape.height + borders[id].bottom,
        base: 0,
        slot: usize::MAX,
    };
    shapes.iter().enumerate().map(layout).collect()
}
