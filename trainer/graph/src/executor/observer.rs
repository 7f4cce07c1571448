//! Runs a graph so that the values of every node can be looked at afterwards: nothing is
//! computed together or overwritten. Slower than an executor, and with more memory: as much as all
//! activations together, 30 MB for a MobileNetV2.

use std::sync::Arc;

use pulp::Arch;

use super::plan::Plan;
use super::{Arena, InputError};
use crate::graph::{Graph, GraphError, NodeId};

/// A network whose values can be looked at.
#[derive(Debug)]
pub struct Observer {
    plan: Arc<Plan>,
    arena: Arena,
}

impl Observer {
    /// Prepares a graph.
    ///
    /// # Errors
    /// [`GraphError`] if the graph breaks its own rules.
    pub fn new(graph: &Graph) -> Result<Self, GraphError> {
        let plan = Arc::new(Plan::observed(graph, Arch::new())?);
        Ok(Self {
            arena: Arena::new(&plan),
            plan,
        })
    }

    /// Another one with the same weights in memory and values of its own.
    pub fn share(&self) -> Self {
        Self {
            plan: self.plan.clone(),
            arena: Arena::new(&self.plan),
        }
    }

    /// Runs one photo.
    ///
    /// # Errors
    /// [`InputError`] if it has not the length of one.
    pub fn run(&mut self, photo: &[f32]) -> Result<(), InputError> {
        let input = self.plan.input;
        if photo.len() != input.num_values() {
            return Err(InputError {
                num_values: photo.len(),
                input,
            });
        }
        self.plan.run(&mut self.arena.slots, photo);
        Ok(())
    }

    /// The channels of a node.
    pub fn num_channels(&self, id: NodeId) -> usize {
        self.plan.layouts[id].shape.channels
    }

    /// The values of a node from the last run, in pieces of whole pixels: row by row, in each
    /// pixel its channels.
    pub fn values(&self, id: NodeId) -> impl Iterator<Item = &[f32]> + Clone {
        let layout = self.plan.layouts[id];
        let values = &self.arena.slots[layout.slot][..];
        let channels = layout.shape.channels;
        // Where the channels are filled up, a piece is one pixel, else a row.
        let (pieces, length) = match layout.pitch == channels {
            true => (1, layout.shape.width * channels),
            false => (layout.shape.width, channels),
        };
        let places = (0..layout.shape.height).flat_map(move |y| (0..pieces).map(move |x| (y, x)));
        places.map(move |(y, x)| &values[layout.place(y, x)..][..length])
    }
}
