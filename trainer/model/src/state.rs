//! A trainer's whole state, out and in again, bit for bit.
//!
//! Tensors go by name in [`Weights`]: `network/` (torchvision's names follow),
//! `optimizer/<slot>/` and `average/`. The rest is one JSON text: the format, the step,
//! the settings and what network it is. A state that lacks a part, has one too many, or
//! is of other settings is refused, and the trainer stays as it was.

use burn_tensor::Tensor;
use graph::Weights;
use serde::{Deserialize, Serialize};

use crate::frozen::Frozen;
use crate::parameters::{download, upload};
use crate::{ModelError, Settings, Trainer};

/// Everything that the next step depends on, besides the batch.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainerState {
    /// Weights, statistics, the optimiser's memory and the averages.
    pub tensors: Weights,
    /// A JSON object: `format`, `step`, `network`, `num_classes`, `settings`.
    pub json: String,
}

/// The JSON part.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// 1
    format: u32,
    step: u64,
    network: String,
    num_classes: usize,
    settings: Settings,
}

impl Trainer {
    /// The state after the last step.
    ///
    /// # Errors
    /// The device failed.
    pub fn save_state(&self) -> Result<TrainerState, ModelError> {
        let mut tensors = Weights::default();
        for (name, tensor) in self.named() {
            let values = download(tensor.clone(), "saving the training state")?;
            let shape = vec![values.len()];
            tensors
                .tensors
                .insert(name, graph::Tensor { shape, values });
        }
        Ok(TrainerState {
            tensors,
            json: self.json(self.step)?,
        })
    }

    /// Goes on from a state that [`Self::save_state`] gave, of a trainer of the same
    /// network and settings.
    ///
    /// # Errors
    /// [`ModelError::State`] with the first part that does not fit; nothing is changed.
    pub fn load_state(&mut self, state: &TrainerState) -> Result<(), ModelError> {
        let record: Record = serde_json::from_str(&state.json)
            .map_err(|error| fault(format!("its JSON cannot be read: {error}")))?;
        // Texts are compared, since a float may lose a bit on its way through JSON.
        if state.json != self.json(record.step)? {
            return Err(fault(
                "it is of another format, network or settings".to_owned(),
            ));
        }
        let names: Vec<(String, usize)> = self
            .named()
            .map(|(name, tensor)| (name, tensor.dims()[0]))
            .collect();
        let stored = &state.tensors.tensors;
        for (name, length) in &names {
            match stored.get(name).map(|tensor| tensor.values.len()) {
                Some(found) if found == *length => {}
                Some(found) => {
                    return Err(fault(format!("{name} has {found} values, not {length}")));
                }
                None => return Err(fault(format!("{name} is missing"))),
            }
        }
        if stored.len() != names.len() {
            let extra = stored.len() - names.len();
            return Err(fault(format!("{extra} tensors are of no use here")));
        }
        let device = self.network.device().burn.clone();
        let mut values = names
            .iter()
            .map(|(name, _)| upload(stored[name].values.clone(), &device));
        for place in self.places() {
            *place = values.next().expect("as many places as names");
        }
        self.step = record.step;
        // What it was made of may have been replaced.
        self.frozen = Frozen::default();
        Ok(())
    }

    fn json(&self, step: u64) -> Result<String, ModelError> {
        let record = Record {
            format: 1,
            step,
            network: format!("{:?}", self.network.architecture()),
            num_classes: self.network.num_classes(),
            settings: self.settings.clone(),
        };
        serde_json::to_string(&record).map_err(|error| fault(format!("its JSON: {error}")))
    }

    /// Every tensor of the state with its name, in the order of [`Self::places`].
    fn named(&self) -> impl Iterator<Item = (String, &Tensor<1>)> {
        let network = &self.network;
        let parameters = network
            .parameters
            .iter()
            .map(|held| (&held.name, &held.value));
        let statistics = network
            .statistics
            .iter()
            .map(|held| (&held.name, &held.value));
        let held = parameters
            .chain(statistics)
            .map(|(name, value)| (format!("network/{name}"), value));
        let slots = self
            .slots
            .iter()
            .zip(&network.parameters)
            .flat_map(|(slots, parameter)| {
                let names = self.settings.optimizer.slots();
                let named =
                    move |(slot, name)| (format!("optimizer/{name}/{}", parameter.name), slot);
                slots.iter().zip(names).map(named)
            });
        let averages = self.average.iter().flat_map(move |average| {
            let parameters = average.parameters.iter();
            let statistics = average.statistics.iter();
            let named = |name: &str| format!("average/{name}");
            parameters
                .map(move |(at, value)| (named(&network.parameters[*at].name), value))
                .chain(
                    statistics
                        .map(move |(at, value)| (named(&network.statistics[*at].name), value)),
                )
        });
        held.chain(slots).chain(averages)
    }

    fn places(&mut self) -> impl Iterator<Item = &mut Tensor<1>> {
        let parameters = self
            .network
            .parameters
            .iter_mut()
            .map(|held| &mut held.value);
        let statistics = self
            .network
            .statistics
            .iter_mut()
            .map(|held| &mut held.value);
        let slots = self.slots.iter_mut().flatten();
        let averages = self.average.iter_mut().flat_map(|average| {
            average
                .parameters
                .iter_mut()
                .chain(&mut average.statistics)
                .map(|(_, value)| value)
        });
        parameters.chain(statistics).chain(slots).chain(averages)
    }
}

fn fault(reason: String) -> ModelError {
    ModelError::State { reason }
}

#[cfg(test)]
mod tests;
