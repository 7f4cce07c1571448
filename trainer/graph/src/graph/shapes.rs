//! What each node of a graph yields, and graphs with another head or
//! with less. A graph that breaks
//! its own rules (a node that reads a later one, weights of the wrong length) is
//! refused here, by name, before anything is computed or written.

use super::{Conv2d, Graph, GraphError, Linear, Node, NodeId, Op, Padding, Shape};

impl Shape {
    /// How many values an activation has.
    pub fn num_values(&self) -> usize {
        self.height * self.width * self.channels
    }
}

impl Graph {
    /// The part that computes `last`, which becomes its features and its output.
    ///
    /// # Errors
    /// [`GraphError`] if there is no such node.
    pub fn up_to(mut self, last: NodeId) -> Result<Self, GraphError> {
        if last >= self.nodes.len() {
            return Err(GraphError {
                graph: self.name,
                node: last.to_string(),
                fault: "there is no such node".to_owned(),
            });
        }
        self.nodes.truncate(last + 1);
        (self.features, self.output) = (last, last);
        Ok(self)
    }

    /// The shape of every node's result.
    ///
    /// # Errors
    /// [`GraphError`] naming the first node that breaks a rule of [`Graph`].
    pub fn shapes(&self) -> Result<Vec<Shape>, GraphError> {
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.nodes.len());
        for (id, node) in self.nodes.iter().enumerate() {
            let fault = |fault: String| GraphError {
                graph: self.name.clone(),
                node: node.name.clone(),
                fault,
            };
            let inputs: Option<Vec<Shape>> = node
                .inputs
                .iter()
                .map(|&input| shapes.get(input).copied())
                .collect();
            let inputs = inputs.ok_or_else(|| fault("it reads a later node".to_owned()))?;
            let shape = match (&node.op, inputs.as_slice()) {
                (Op::Input, []) if id == 0 => Ok(self.input),
                (Op::Conv2d(conv), &[input]) => conv.shape(input),
                (Op::Add(_), &[a, b]) if a == b => Ok(a),
                (Op::Add(_), &[a, b]) => Err(format!("{a:?} and {b:?} cannot be added")),
                (Op::MaxPool(pool), &[input]) => window(
                    input,
                    pool.kernel,
                    pool.stride,
                    pool.padding,
                    input.channels,
                ),
                (Op::GlobalAveragePool, &[input]) => Ok(vector(input.channels)),
                (Op::Linear(linear), &[input]) => linear.shape(input),
                _ => Err("it is out of place or has the wrong number of inputs".to_owned()),
            };
            shapes.push(shape.map_err(fault)?);
        }
        for (what, id) in [("features", self.features), ("output", self.output)] {
            if id >= shapes.len() {
                return Err(GraphError {
                    graph: self.name.clone(),
                    node: id.to_string(),
                    fault: format!("the {what} are a node that does not exist"),
                });
            }
        }
        Ok(shapes)
    }

    /// Length of the features.
    ///
    /// # Errors
    /// Those of [`Self::shapes`].
    pub fn num_features(&self) -> Result<usize, GraphError> {
        Ok(self.shapes()?[self.features].num_values())
    }

    /// The same backbone with other layers behind the features, called `head.0`,
    /// `head.1`, ... None leaves the features as the output.
    ///
    /// # Errors
    /// [`GraphError`] if a layer does not fit the one before it.
    pub fn with_head(mut self, layers: Vec<Linear>) -> Result<Self, GraphError> {
        self.nodes.truncate(self.features + 1);
        self.output = self.features;
        for (number, layer) in layers.into_iter().enumerate() {
            self.push_linear(format!("head.{number}"), layer);
        }
        self.shapes()?;
        Ok(self)
    }

    /// Puts a layer behind the output.
    pub(crate) fn push_linear(&mut self, name: String, layer: Linear) {
        self.nodes.push(Node {
            name,
            op: Op::Linear(layer),
            inputs: vec![self.output],
        });
        self.output = self.nodes.len() - 1;
    }
}

impl Conv2d {
    fn shape(&self, input: Shape) -> Result<Shape, String> {
        let depthwise = self.groups == self.in_channels && self.groups == self.out_channels;
        if self.groups != 1 && !depthwise {
            return Err(format!("{} groups are neither 1 nor all", self.groups));
        }
        if input.channels != self.in_channels {
            return Err(format!(
                "its input has {} channels, it takes {}",
                input.channels, self.in_channels
            ));
        }
        let [height, width] = self.kernel;
        let num_weights = self.out_channels * height * width * (self.in_channels / self.groups);
        if self.weights.len() != num_weights || self.bias.len() != self.out_channels {
            return Err(format!(
                "it has {} weights and {} biases, it needs {num_weights} and {}",
                self.weights.len(),
                self.bias.len(),
                self.out_channels
            ));
        }
        window(
            input,
            self.kernel,
            self.stride,
            self.padding,
            self.out_channels,
        )
    }
}

impl Linear {
    fn shape(&self, input: Shape) -> Result<Shape, String> {
        if input != vector(self.in_features)
            || self.bias.len() != self.out_features
            || self.weights.len() != self.out_features * self.in_features
        {
            return Err(format!(
                "it maps {} values to {} with {} weights and {} biases, its input is {input:?}",
                self.in_features,
                self.out_features,
                self.weights.len(),
                self.bias.len()
            ));
        }
        Ok(vector(self.out_features))
    }
}

fn vector(channels: usize) -> Shape {
    Shape {
        height: 1,
        width: 1,
        channels,
    }
}

/// What a window that moves over an activation yields.
fn window(
    input: Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    channels: usize,
) -> Result<Shape, String> {
    let length = |length: usize, before: usize, after: usize, axis: usize| {
        let steps = (length + before + after).checked_sub(kernel[axis])?;
        Some(steps.checked_div(stride[axis])? + 1)
    };
    let height = length(input.height, padding.top, padding.bottom, 0);
    let width = length(input.width, padding.left, padding.right, 1);
    match (height, width) {
        (Some(height), Some(width)) if !kernel.contains(&0) => Ok(Shape {
            height,
            width,
            channels,
        }),
        _ => Err(format!("its window does not fit the input {input:?}")),
    }
}
