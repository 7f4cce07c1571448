//! Which nodes are computed together. Comes in: a graph. Goes out: sums that the
//! convolution before them does as it writes its result, and the triples of convolutions
//! that may be done in bands.

use crate::graph::{Activation, Graph, NodeId, Op, Padding};

pub(super) struct Fusion {
    /// For a convolution: what it adds, and what follows the sum.
    pub other: Vec<Option<(NodeId, Activation)>>,
    /// For every node: the node whose layout its result has.
    pub target: Vec<NodeId>,
    /// That another node's step computes it.
    pub is_done_elsewhere: Vec<bool>,
    /// For the last of a triple: the convolution and the depthwise one before it.
    pub bands: Vec<Option<[NodeId; 2]>>,
}

impl Fusion {
    pub fn of(graph: &Graph) -> Self {
        let num_nodes = graph.nodes.len();
        let mut num_readers = vec![0; num_nodes];
        let read = graph.nodes.iter().flat_map(|node| &node.inputs);
        for &read in read.chain([&graph.features, &graph.output]) {
            num_readers[read] += 1;
        }
        let mut fusion = Self::none(graph);
        for id in 0..num_nodes {
            fusion.sum(graph, &num_readers, id);
        }
        for id in 0..num_nodes {
            fusion.bands[id] = fusion.triple(graph, &num_readers, id);
        }
        fusion
    }

    /// Every node by itself.
    pub fn none(graph: &Graph) -> Self {
        let num_nodes = graph.nodes.len();
        Self {
            other: vec![None; num_nodes],
            target: (0..num_nodes).collect(),
            is_done_elsewhere: vec![false; num_nodes],
            bands: vec![None; num_nodes],
        }
    }

    /// Lets go of the triples that are not worth it; `keep` is told the first two.
    pub fn keep_bands(&mut self, mut keep: impl FnMut([NodeId; 2]) -> bool) {
        for bands in &mut self.bands {
            *bands = bands.filter(|&first_two| keep(first_two));
            for id in bands.iter().flatten() {
                self.is_done_elsewhere[*id] = true;
            }
        }
    }

    fn sum(&mut self, graph: &Graph, num_readers: &[usize], id: NodeId) {
        let node = &graph.nodes[id];
        let (Op::Add(activation), &[a, b]) = (&node.op, node.inputs.as_slice()) else {
            return;
        };
        // The later of the two is computed when the other is at hand.
        let (early, late) = (a.min(b), a.max(b));
        let is_plain = matches!(&graph.nodes[late].op,
            Op::Conv2d(conv) if conv.groups == 1 && conv.activation == Activation::Identity);
        if is_plain && num_readers[late] == 1 {
            self.other[late] = Some((early, *activation));
            self.target[late] = id;
            self.is_done_elsewhere[id] = true;
        }
    }

    fn triple(&self, graph: &Graph, num_readers: &[usize], id: NodeId) -> Option<[NodeId; 2]> {
        let only_input = |id: NodeId| match graph.nodes[id].inputs.as_slice() {
            &[input] if num_readers[input] == 1 => Some(input),
            _ => None,
        };
        let Op::Conv2d(project) = &graph.nodes[id].op else {
            return None;
        };
        let is_pixelwise =
            project.kernel == [1, 1] && project.stride == [1, 1] && project.groups == 1;
        let second = only_input(id)?;
        let first = only_input(second)?;
        let (Op::Conv2d(depthwise), Op::Conv2d(expand)) =
            (&graph.nodes[second].op, &graph.nodes[first].op)
        else {
            return None;
        };
        let is_triple = is_pixelwise
            && project.padding == Padding::default()
            && depthwise.groups > 1
            && depthwise.kernel[0] >= depthwise.stride[0]
            && expand.groups == 1
            && self.other[first].is_none();
        is_triple.then_some([first, second])
    }
}
