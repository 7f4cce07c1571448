//! From weights, or from nothing, to a network on a device.

use graph::{Architecture, Weights};

use super::{Block, Head, HeadOrigin, Network, Unit};
use crate::ModelError;
use crate::device::Device;
use crate::initial;
use crate::parameters::{Parameter, Statistic, upload};
use crate::plan::{Plan, Shortcut, UnitPlan};

/// See [`Network::from_weights`]; without weights, everything is fresh.
pub(super) fn network(
    architecture: Architecture,
    weights: Option<&Weights>,
    num_classes: usize,
    seed: u64,
    device: &Device,
) -> Result<Network, ModelError> {
    if num_classes == 0 {
        return Err(ModelError::NoClasses);
    }
    let plan = Plan::new(architecture);
    let mut builder = Builder {
        name: format!("{architecture:?}"),
        weights,
        seed,
        device,
        num_units: 0,
        parameters: Vec::new(),
        statistics: Vec::new(),
    };
    let mut blocks = Vec::with_capacity(plan.blocks.len());
    for (number, block) in plan.blocks.iter().enumerate() {
        let units = block.units.iter().map(|unit| builder.unit(unit, number));
        blocks.push(Block {
            units: units.collect::<Result<_, _>>()?,
            shortcut: match &block.shortcut {
                Shortcut::None => Shortcut::None,
                Shortcut::Identity => Shortcut::Identity,
                Shortcut::Unit(unit) => Shortcut::Unit(builder.unit(unit, number)?),
            },
            activation: block.activation,
            max_pool: block.max_pool,
        });
    }
    let (head, origin) = builder.head(&plan, num_classes);
    Ok(Network {
        architecture,
        num_classes,
        num_features: plan.num_features,
        device: device.clone(),
        origin,
        blocks,
        head,
        parameters: builder.parameters,
        statistics: builder.statistics,
    })
}

/// Collects the numbers of one network.
struct Builder<'a> {
    name: String,
    weights: Option<&'a Weights>,
    seed: u64,
    device: &'a Device,
    num_units: usize,
    parameters: Vec<Parameter>,
    statistics: Vec<Statistic>,
}

impl Builder<'_> {
    fn unit(&mut self, plan: &UnitPlan, block: usize) -> Result<Unit, ModelError> {
        let channels = plan.shape.out_channels;
        let number = self.num_units;
        self.num_units += 1;
        let (seed, shape) = (self.seed, plan.shape);
        let convolution = || initial::convolution(&shape, seed, number);
        let norm = |part: &str| format!("{}.{part}", plan.norm);
        let conv = format!("{}.weight", plan.conv);
        Ok(Unit {
            shape: plan.shape,
            activation: plan.activation,
            weight: self.parameter(conv, &shape.weight_shape(), block, convolution)?,
            gamma: self.parameter(norm("weight"), &[channels], block, || vec![1.0; channels])?,
            beta: self.parameter(norm("bias"), &[channels], block, || vec![0.0; channels])?,
            mean: self.statistic(norm("running_mean"), channels, block, 0.0)?,
            variance: self.statistic(norm("running_var"), channels, block, 1.0)?,
        })
    }

    /// The weights' head if it fits, or a fresh one.
    fn head(&mut self, plan: &Plan, num_classes: usize) -> (Head, HeadOrigin) {
        let shape = [num_classes, plan.num_features];
        let names = [
            format!("{}.weight", plan.head),
            format!("{}.bias", plan.head),
        ];
        let given = self.weights.and_then(|weights| {
            let weight = weights.tensors.get(&names[0])?;
            let bias = weights.tensors.get(&names[1])?;
            (weight.shape == shape && bias.shape == shape[..1])
                .then(|| (weight.values.clone(), bias.values.clone()))
        });
        let origin = if given.is_some() {
            HeadOrigin::Kept
        } else {
            HeadOrigin::Replaced
        };
        let (weight, bias) = given
            .unwrap_or_else(|| initial::head(plan.head, num_classes, plan.num_features, self.seed));
        let block = plan.blocks.len();
        let [weight_name, bias_name] = names;
        let head = Head {
            weight: self.insert(weight_name, &shape, block, weight),
            bias: self.insert(bias_name, &shape[..1], block, bias),
        };
        (head, origin)
    }

    fn parameter(
        &mut self,
        name: String,
        shape: &[usize],
        block: usize,
        fresh: impl FnOnce() -> Vec<f32>,
    ) -> Result<usize, ModelError> {
        let values = match self.weights {
            Some(weights) => self.given(weights, &name, shape)?,
            None => fresh(),
        };
        Ok(self.insert(name, shape, block, values))
    }

    fn insert(&mut self, name: String, shape: &[usize], block: usize, values: Vec<f32>) -> usize {
        let value = upload(values, &self.device.burn);
        self.parameters.push(Parameter {
            name,
            shape: shape.to_vec(),
            block,
            value,
        });
        self.parameters.len() - 1
    }

    fn statistic(
        &mut self,
        name: String,
        length: usize,
        block: usize,
        fresh: f32,
    ) -> Result<usize, ModelError> {
        let values = match self.weights {
            Some(weights) => self.given(weights, &name, &[length])?,
            None => vec![fresh; length],
        };
        let value = upload(values, &self.device.burn);
        self.statistics.push(Statistic { name, block, value });
        Ok(self.statistics.len() - 1)
    }

    fn given(
        &self,
        weights: &Weights,
        name: &str,
        shape: &[usize],
    ) -> Result<Vec<f32>, ModelError> {
        let tensor = weights
            .tensors
            .get(name)
            .ok_or_else(|| ModelError::MissingTensor {
                architecture: self.name.clone(),
                name: name.to_owned(),
            })?;
        if tensor.shape != shape || tensor.values.len() != shape.iter().product::<usize>() {
            return Err(ModelError::TensorShape {
                architecture: self.name.clone(),
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: tensor.shape.clone(),
            });
        }
        Ok(tensor.values.clone())
    }
}
