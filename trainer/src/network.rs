//! The trained network as it is kept: backbone weights under torchvision's names, the
//! head's layers as `head.0.weight`, `head.0.bias` and so on, and the spec beside them.

use graph::{Activation, Architecture, Graph, Linear, Tensor, Weights};
use schemas::InputSpec;
use schemas::training::TrainingSpec;

/// The file of weights.
pub const WEIGHTS_FILE: &str = "weights.safetensors";
/// The file of the spec.
pub const SPEC_FILE: &str = "training.json";

/// The network and what it expects, from what is kept of it.
///
/// # Errors
/// The weights are not those of the spec's network, in words.
pub fn graph_of(spec: &TrainingSpec, weights: &Weights) -> Result<(Graph, InputSpec), String> {
    let architecture: Architecture = spec
        .architecture
        .parse()
        .map_err(|fault| format!("{fault}"))?;
    let side = spec.input_size as usize;
    let input = architecture
        .input_spec_at(side)
        .map_err(|fault| fault.to_string())?;
    let graph = backbone(architecture, weights, spec.input_size)?;
    let graph = graph
        .with_head(head(weights)?)
        .map_err(|fault| fault.to_string())?;
    Ok((graph, input))
}

/// The network without a head.
///
/// # Errors
/// The weights are not those of this network, in words.
pub fn backbone(architecture: Architecture, weights: &Weights, side: u32) -> Result<Graph, String> {
    let mut headless = weights.clone();
    headless.tensors.retain(|name, _| !is_head(name));
    Graph::build(architecture, &headless, side as usize).map_err(|fault| fault.to_string())
}

fn is_head(name: &str) -> bool {
    name.starts_with("head.") || name.starts_with("classifier.") || name.starts_with("fc.")
}

/// The head that a network trained under torchvision's names has.
///
/// # Errors
/// There is none, in words.
pub fn torchvision_head(architecture: Architecture, weights: &Weights) -> Result<Linear, String> {
    let name = architecture.head_name();
    let tensor = |part: &str| {
        let name = format!("{name}.{part}");
        weights
            .tensors
            .get(&name)
            .ok_or_else(|| format!("there is no {name}"))
    };
    let (matrix, bias) = (tensor("weight")?, tensor("bias")?);
    let &[out_features, in_features] = matrix.shape.as_slice() else {
        return Err(format!("{name}.weight is no matrix"));
    };
    Ok(Linear {
        weights: matrix.values.clone(),
        bias: bias.values.clone(),
        out_features,
        in_features,
        activation: Activation::Identity,
    })
}

/// The weights with the head's layers in them, and without the head that they had.
pub fn with_head(backbone: &Weights, layers: &[Linear]) -> Weights {
    let mut weights = backbone.clone();
    weights.tensors.retain(|name, _| !is_head(name));
    for (i, layer) in layers.iter().enumerate() {
        let shape = vec![layer.out_features, layer.in_features];
        let matrix = Tensor::new(shape, layer.weights.clone());
        let bias = Tensor::new(vec![layer.out_features], layer.bias.clone());
        weights.tensors.insert(format!("head.{i}.weight"), matrix);
        weights.tensors.insert(format!("head.{i}.bias"), bias);
    }
    weights
}

/// Weights that learning can go on from with other classes: what the head knows of a label
/// stays, whatever its place; a label that is new begins at nothing. A head of several
/// layers is left out.
pub fn with_labels(
    architecture: Architecture,
    weights: &Weights,
    known: &[String],
    labels: &[String],
) -> Weights {
    let mut going_on = weights.clone();
    going_on.tensors.retain(|name, _| !is_head(name));
    let Ok(layers) = head(weights) else {
        return going_on;
    };
    let [layer] = layers.as_slice() else {
        return going_on;
    };
    let width = layer.in_features;
    let mut matrix = vec![0.0; labels.len() * width];
    let mut bias = vec![0.0; labels.len()];
    for (place, label) in labels.iter().enumerate() {
        let Some(old) = known.iter().position(|known| known == label) else {
            continue;
        };
        if let (Some(row), Some(&value)) = (
            layer.weights.get(old * width..(old + 1) * width),
            layer.bias.get(old),
        ) {
            matrix[place * width..(place + 1) * width].copy_from_slice(row);
            bias[place] = value;
        }
    }
    let name = architecture.head_name();
    let matrix = Tensor::new(vec![labels.len(), width], matrix);
    let bias = Tensor::new(vec![labels.len()], bias);
    going_on.tensors.insert(format!("{name}.weight"), matrix);
    going_on.tensors.insert(format!("{name}.bias"), bias);
    going_on
}

/// The head's layers: a ReLU follows each but the last.
///
/// # Errors
/// There are none, or their shapes do not fit, in words.
pub fn head(weights: &Weights) -> Result<Vec<Linear>, String> {
    let mut layers = Vec::new();
    while let Some(matrix) = weights
        .tensors
        .get(&format!("head.{}.weight", layers.len()))
    {
        let name = format!("head.{}.bias", layers.len());
        let bias = weights
            .tensors
            .get(&name)
            .ok_or_else(|| format!("{name} is missing"))?;
        let &[out_features, in_features] = matrix.shape.as_slice() else {
            return Err(format!("head.{}.weight is no matrix", layers.len()));
        };
        if bias.shape != [out_features] {
            return Err(format!("{name} has not {out_features} values"));
        }
        layers.push(Linear {
            weights: matrix.values.clone(),
            bias: bias.values.clone(),
            out_features,
            in_features,
            activation: Activation::Relu,
        });
    }
    let last = layers.last_mut().ok_or("there is no head.0.weight")?;
    last.activation = Activation::Identity;
    Ok(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(outputs: usize, inputs: usize, activation: Activation) -> Linear {
        Linear {
            weights: (0..outputs * inputs).map(|i| i as f32).collect(),
            bias: vec![0.5; outputs],
            out_features: outputs,
            in_features: inputs,
            activation,
        }
    }

    #[test]
    fn learning_goes_on_with_what_is_known_of_each_label_wherever_it_stands() {
        let texts = |labels: &[&str]| labels.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
        let architecture: Architecture = "resnet18".parse().unwrap();
        let mut known = layer(2, 3, Activation::Identity);
        known.bias = vec![1.0, 2.0];
        let parent = with_head(&Weights::default(), &[known]);
        let (old, new) = (texts(&["cat", "dog"]), texts(&["ant", "cat", "dog"]));
        let going_on = with_labels(architecture, &parent, &old, &new);
        let head = torchvision_head(architecture, &going_on).unwrap();
        assert_eq!(head.bias, [0.0, 1.0, 2.0]);
        assert_eq!(head.weights, [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let deep = [
            layer(4, 8, Activation::Relu),
            layer(2, 4, Activation::Identity),
        ];
        let deep = with_head(&Weights::default(), &deep);
        assert!(
            with_labels(architecture, &deep, &old, &new)
                .tensors
                .is_empty()
        );
    }

    #[test]
    fn a_head_is_kept_and_found_and_replaces_the_one_that_was_there() {
        let mut backbone = Weights::default();
        for name in [
            "features.0.0.weight",
            "classifier.1.weight",
            "head.0.weight",
        ] {
            let tensor = Tensor::new(vec![1], vec![1.0]);
            backbone.tensors.insert(name.into(), tensor);
        }
        let layers = [
            layer(4, 8, Activation::Relu),
            layer(3, 4, Activation::Identity),
        ];
        let kept = with_head(&backbone, &layers);
        assert_eq!(head(&kept).unwrap(), layers);
        assert!(!kept.tensors.contains_key("classifier.1.weight"));
        assert!(kept.tensors.contains_key("features.0.0.weight"));
        assert!(head(&backbone).is_err(), "one value is no matrix");
    }
}
