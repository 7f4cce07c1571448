//! The network as phones run it: batch norm folded, a few kinds of node, plain
//! numbers. It is built from a file of weights, executed here on the CPU, and handed
//! to `export`, which writes it in three formats.

mod graph;
pub use graph::{Activation, Conv2d, Graph, Linear, Node, NodeId, Op, Padding, Pool, Shape};

mod weights;
pub use weights::{Tensor, Weights};

mod architecture;
pub use architecture::{Architecture, Width};
