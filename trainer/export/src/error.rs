//! What can go wrong between a network and its files. Every error says what was being
//! done, to which file or node, and what was found.

/// An error of whoever delivers photos.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no file, or no proof of it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The network is not one that all formats can hold.
    #[error("exporting node {node}: {problem}")]
    Network {
        /// The node's name, or its place where it has none.
        node: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A network that was read back does not run.
    #[error("preparing the network of a file")]
    Prepare(#[from] graph::GraphError),
    /// A photo does not fit the network of a file.
    #[error("running the network of a file")]
    Run(#[from] graph::InputError),
    /// What is said about the model does not fit the network.
    #[error("describing the model: {0}")]
    Info(String),
    /// The photos for calibration or for the proof could not be had.
    #[error("reading photos for {purpose}")]
    Photos {
        /// `calibration` or `the parity proof`.
        purpose: &'static str,
        /// What whoever delivers them said.
        #[source]
        source: SourceError,
    },
    /// A photo or its logits are of another size than the network's.
    #[error("{purpose}: photo {index} has {found} {what}, the network has {expected}")]
    Size {
        /// `calibration` or `the parity proof`.
        purpose: &'static str,
        /// The how-manieth photo, from 0.
        index: usize,
        /// `values` or `logits`.
        what: &'static str,
        /// How many were given.
        found: usize,
        /// How many it takes.
        expected: usize,
    },
    /// There was no photo to calibrate on or to prove with.
    #[error("{0} needs at least one photo")]
    NoPhotos(&'static str),
    /// A written file is not what its format asks for, or not what we write.
    #[error("reading {format} back: {problem}")]
    Unreadable {
        /// `ONNX`, `TFLite` or `Core ML`.
        format: &'static str,
        /// What was found, and where.
        problem: String,
    },
    /// A part of the bundle could not be put into JSON.
    #[error("writing {name}")]
    Json {
        /// The file's name.
        name: &'static str,
        /// What the JSON writer said.
        #[source]
        source: serde_json::Error,
    },
}

impl ExportError {
    pub(crate) fn network(node: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Network {
            node: node.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn unreadable(format: &'static str, problem: impl Into<String>) -> Self {
        Self::Unreadable {
            format,
            problem: problem.into(),
        }
    }
}
