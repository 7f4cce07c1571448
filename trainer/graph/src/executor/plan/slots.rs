//! Which activation lies in which slot of the arena. Goes out: for each a slot that is
//! free while it lives, so that a whole network needs few of them.

use super::fusion::Fusion;
use crate::executor::layout::Layout;
use crate::graph::{Graph, NodeId};

/// Sets the slot of each layout; the sizes of the slots.
pub(super) fn assign(graph: &Graph, fusion: &Fusion, layouts: &mut [Layout]) -> Vec<usize> {
    let last_reader = last_readers(graph, fusion);
    let mut sizes: Vec<usize> = Vec::new();
    let mut owners: Vec<Option<NodeId>> = Vec::new();
    for id in 0..graph.nodes.len() {
        let target = fusion.target[id];
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
        let best = free.min_by_key(|&slot| (sizes[slot] < size, sizes[slot].abs_diff(size)));
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

/// A slot for each node, so that nothing is overwritten; the sizes of the slots.
pub(super) fn one_each(layouts: &mut [Layout]) -> Vec<usize> {
    let slots = layouts.iter_mut().enumerate();
    let size = |(id, layout): (NodeId, &mut Layout)| {
        layout.slot = id;
        layout.num_values()
    };
    slots.map(size).collect()
}

/// The last node that reads each result.
fn last_readers(graph: &Graph, fusion: &Fusion) -> Vec<NodeId> {
    let mut last_reader: Vec<NodeId> = (0..graph.nodes.len()).collect();
    let mut read = |input: NodeId, id: NodeId| {
        let owner = fusion.target[input];
        last_reader[owner] = last_reader[owner].max(id);
    };
    for (id, node) in graph.nodes.iter().enumerate() {
        for &input in &node.inputs {
            read(input, id);
        }
        if let Some([first, second]) = fusion.bands[id] {
            // All three are computed when the last one is.
            for &input in &graph.nodes[first].inputs {
                read(input, id);
            }
            read(first, id);
            read(second, id);
        }
    }
    for result in [graph.features, graph.output] {
        last_reader[result] = usize::MAX;
    }
    last_reader
}
