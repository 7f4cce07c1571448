//! What a network reads: photos as planes of normalised numbers, and their labels.

use crate::ModelError;

/// Photos of one size, normalised as `schemas::InputSpec` says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Images {
    /// Photo by photo, plane by plane (red, green, blue), row by row (NCHW):
    /// `3 * side * side` values for each photo.
    pub values: Vec<f32>,
    /// Height and width.
    pub side: usize,
}

impl Images {
    /// How many photos.
    ///
    /// # Errors
    /// [`ModelError::ImageSize`] when the values are not those of whole photos.
    pub fn count(&self) -> Result<usize, ModelError> {
        let one = 3 * self.side * self.side;
        if one == 0 || !self.values.len().is_multiple_of(one) {
            return Err(ModelError::ImageSize {
                found: self.values.len(),
                side: self.side,
            });
        }
        Ok(self.values.len() / one)
    }
}

/// Photos and their classes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// The photos.
    pub images: Images,
    /// The class of each, as its place in the sorted label names.
    pub labels: Vec<u32>,
}

impl Batch {
    /// The photos `from..to`, as a batch of its own.
    pub(crate) fn part(&self, from: usize, to: usize) -> Batch {
        let one = 3 * self.images.side * self.images.side;
        Batch {
            images: Images {
                values: self.images.values[from * one..to * one].to_vec(),
                side: self.images.side,
            },
            labels: self.labels[from..to].to_vec(),
        }
    }

    /// How many photos, all of them labelled with one of `num_classes`.
    pub(crate) fn check(&self, num_classes: usize) -> Result<usize, ModelError> {
        let count = self.images.count()?;
        let fault = if count == 0 {
            "no photo".to_owned()
        } else if count != self.labels.len() {
            format!("{count} photos and {} labels", self.labels.len())
        } else if let Some(label) = self
            .labels
            .iter()
            .find(|label| **label as usize >= num_classes)
        {
            format!("class {label} of {num_classes} classes")
        } else {
            return Ok(count);
        };
        Err(ModelError::Batch { reason: fault })
    }
}
