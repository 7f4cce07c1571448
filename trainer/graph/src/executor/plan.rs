//! What is done for each photo, decided once. Comes in: a graph. Goes out: steps with
//! packed weights, and for each activation a slot of the arena, which it shares with
//! others that live at other times. A sum is done by the convolution before it.

use pulp::{Arch, Simd, WithSimd};

use super::convolution::Convolution;
use super::depthwise::Depthwise;
use super::layout::Layout;
use super::simple;
use crate::graph::{Activation, Conv2d, Graph, GraphError, NodeId, Op, Padding, Pool, Shape};

#[derive(Debug)]
pub(super) struct Plan {
    arch: Arch,
    steps: Vec<Step>,
    pub input: Shape,
    pub features: Layout,
    pub output: Layout,
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
    MaxPool(Pool),
    GlobalAveragePool,
    Add(Layout, Activation),
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
        let fused = fused_sums(graph);
        let mut layouts = layouts(graph, &shapes, lanes);
        let slots = assign_slots(graph, &fused, &mut layouts);
        let mut steps = Vec::new();
        for (id, node) in graph.nodes.iter().enumerate() {
            let output = layouts[fused.target[id]];
            let input = node.inputs.first().map_or(output, |&input| layouts[input]);
            let work = match &node.op {
                Op::Input => Work::Input,
                Op::Conv2d(conv) if conv.groups > 1 => {
                    Work::Depthwise(Depthwise::new(conv, input, lanes))
                }
                Op::Conv2d(conv) => {
                    let mut conv = Convolution::new(conv, input, lanes);
                    if let Some((other, activation)) = fused.other[id] {
                        conv.add(layouts[other], activation);
                    }
                    Work::Convolution(conv)
                }
                Op::Linear(linear) => {
                    let conv = Conv2d {
                        weights: linear.weights.clone(),
                        bias: linear.bias.clone(),
                        out_channels: linear.out_features,
                        in_channels: linear.in_features,
                        kernel: [1, 1],
                        stride: [1, 1],
                        padding: Padding::default(),
                        groups: 1,
                        activation: linear.activation,
                    };
                    Work::Convolution(Convolution::new(&conv, input, lanes))
                }
                Op::Add(_) if fused.is_done[id] => continue,
                Op::Add(activation) => Work::Add(layouts[node.inputs[1]], *activation),
                Op::MaxPool(pool) => Work::MaxPool(*pool),
                Op::GlobalAveragePool => Work::GlobalAveragePool,
            };
            steps.push(Step {
                work,
                input,
                output,
            });
        }
        Ok(Self {
            arch,
            steps,
            input: graph.input,
            features: layouts[graph.features],
            output: layouts[graph.output],
            slots,
        })
    }

    /// Computes one photo; the results lie in the slots of `features` and `output`.
    pub fn run(&self, slots: &mut [Vec<f32>], photo: &[f32]) {
        for step in &self.steps {
            let mut out = std::mem::take(&mut slots[step.output.slot]);
            let layout = step.output;
            layout.clear_border(&mut out);
            let input = &slots[step.input.slot];
            match &step.work {
                Work::Input => simple::copy_photo(photo, layout, &mut out),
                Work::Convolution(conv) => conv.run(self.arch, slots, step.input, layout, &mut out),
                Work::Depthwise(conv) => conv.run(self.arch, input, step.input, layout, &mut out),
                Work::MaxPool(pool) => {
                    simple::max_pool(self.arch, *pool, input, step.input, layout, &mut out);
                }
                Work::GlobalAveragePool => {
                    simple::average(self.arch, input, step.input, layout, &mut out);
                }
                Work::Add(other, activation) => {
                    let pair = [(&input[..], step.input), (&slots[other.slot][..], *other)];
                    simple::add(self.arch, pair, *activation, layout, &mut out);
                }
            }
            slots[step.output.slot] = out;
        }
    }
}

/// Sums that the convolution before them does as it writes its result.
struct Fused {
    /// For a convolution: what it adds, and what follows the sum.
    other: Vec<Option<(NodeId, Activation)>>,
    /// For every node: which node's layout its result has.
    target: Vec<NodeId>,
    /// For a sum: that nothing is left to do.
    is_done: Vec<bool>,
}

fn fused_sums(graph: &Graph) -> Fused {
    let num_nodes = graph.nodes.len();
    let mut num_readers = vec![0; num_nodes];
    for &input in graph.nodes.iter().flat_map(|node| &node.inputs) {
        num_readers[input] += 1;
    }
    for result in [graph.features, graph.output] {
        num_readers[result] += 1;
    }
    let mut fused = Fused {
        other: vec![None; num_nodes],
        target: (0..num_nodes).collect(),
        is_done: vec![false; num_nodes],
    };
    for (id, node) in graph.nodes.iter().enumerate() {
        let (Op::Add(activation), &[a, b]) = (&node.op, node.inputs.as_slice()) else {
            continue;
        };
        // The later of the two is computed when the other is at hand.
        let (early, late) = (a.min(b), a.max(b));
        let is_plain = matches!(&graph.nodes[late].op,
            Op::Conv2d(conv) if conv.groups == 1 && conv.activation == Activation::Identity);
        if is_plain && num_readers[late] == 1 {
            fused.other[late] = Some((fused.target[early], *activation));
            fused.target[late] = id;
            fused.is_done[id] = true;
        }
    }
    fused
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
    let mut layouts: Vec<Layout> = shapes
        .iter()
        .zip(&graph.nodes)
        .enumerate()
        .map(|(id, (&shape, node))| Layout {
            shape,
            pitch: match node.op {
                Op::Input if is_unpadded(id) => shape.channels,
                _ => shape.channels.next_multiple_of(lanes),
            },
            border: Padding::default(),
            slot: usize::MAX,
        })
        .collect();
    for node in &graph.nodes {
        if let Op::Conv2d(conv) = &node.op {
            let border = &mut layouts[node.inputs[0]].border;
            border.top = border.top.max(conv.padding.top);
            border.left = border.left.max(conv.padding.left);
            border.bottom = border.bottom.max(conv.padding.bottom);
            border.right = border.right.max(conv.padding.right);
        }
    }
    layouts
}

/// Gives each result a slot that is free while it lives, and returns the slots' sizes.
fn assign_slots(graph: &Graph, fused: &Fused, layouts: &mut [Layout]) -> Vec<usize> {
    let mut last_reader: Vec<NodeId> = (0..graph.nodes.len()).collect();
    for (id, node) in graph.nodes.iter().enumerate() {
        for &input in &node.inputs {
            last_reader[fused.target[input]] = last_reader[fused.target[input]].max(id);
        }
    }
    for result in [graph.features, graph.output] {
        last_reader[result] = usize::MAX;
    }
    let mut sizes: Vec<usize> = Vec::new();
    let mut owners: Vec<Option<NodeId>> = Vec::new();
    for id in 0..graph.nodes.len() {
        let target = fused.target[id];
        if layouts[target].slot != usize::MAX {
            continue;
        }
        for owner in &mut owners {
            // What is read here last must still be there while this is computed.
            *owner = owner.filter(|&owner| last_reader[owner] >= id);
        }
        let size = layouts[target].num_values();
        let free = (0..sizes.len()).filter(|&slot| owners[slot].is_none());
        // The closest fit: the smallest that is large enough, or else the largest.
        let best = free.min_by_key(|&slot| {
            let too_small = sizes[slot] < size;
            (too_small, sizes[slot].abs_diff(size))
        });
        let slot = best.unwrap_or_else(|| {
            sizes.push(0);
            owners.push(None);
            sizes.len() - 1
        });
        sizes[slot] = sizes[slot].max(size);
        owners[slot] = Some(target);
        layouts[target].slot = slot;
    }
    sizes
}
