//! The network as phones run it: batch norm folded, a few kinds of node, plain
//! numbers. It is built from a file of weights, executed here on the CPU, and handed
//! to `export`, which writes it in three formats.

mod weights;
pub use weights::{Tensor, Weights, WeightsError, sha256_of_file};

mod architecture;
pub use architecture::{Architecture, ArchitectureError, TensorSpec, UnknownArchitecture, Width};

mod publishers;
pub use publishers::{OFFICIAL_WEIGHTS, OfficialWeights};

mod graph;
pub use graph::{
    Activation, Conv2d, Graph, GraphError, Linear, Node, NodeId, Op, Padding, Pool, Shape,
};

mod fold;

mod embedding;
pub use embedding::{Backbone, EMBEDDING_BACKBONE, EmbeddingModel, Picture, PictureError};

mod executor;
pub use executor::{Executor, InputError, Observer, Results};
