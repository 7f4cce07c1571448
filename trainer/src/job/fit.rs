//! `mode: head`: photos and a backbone come in, a head on the backbone's features and the
//! logits of every photo go out. The backbone stays as it is, so nothing of this is long
//! enough for a checkpoint.

use graph::Weights;
use schemas::Split;

use super::{Initial, Job, Trained};
use crate::error::TrainerError;
use crate::features::Wanted;
use crate::head::{self, Examples};
use crate::loader::order;
use crate::table::Photos;
use crate::{evaluate, features, network};

/// Above this many photos the split that leaks is not tried as well: it costs more fits.
const RANDOM_SPLIT_PHOTOS: usize = 20_000;
/// How often it is tried: one small test set alone says little.
const RANDOM_SPLITS: u64 = 5;

impl Job<'_> {
    /// `mode: head`: features of every photo, then a head on those of the training photos.
    pub(super) fn fit_head(&self, photos: &Photos) -> Result<Trained, TrainerError> {
        let Initial {
            weights,
            origin,
            embedding_model,
        } = self.initial_weights(&photos.labels)?;
        let backbone = match weights {
            Some(weights) => weights,
            None => {
                self.reporter.note(
                    "the features are those of random weights: `fast` is good with pretrained ones",
                );
                Weights::random(self.architecture, 1, self.spec.seed)
            }
        };
        let network = |fault: String| TrainerError::refused("bad_weights", fault);
        let graph = network::backbone(self.architecture, &backbone, self.spec.input_size)
            .map_err(network)?;
        let wanted = Wanted {
            graph: &graph,
            input: &self.input,
            model: embedding_model,
        };
        let features = features::of(photos, &wanted, self.reporter)?;
        let width = features.len() / photos.all().len().max(1);
        let all: Vec<usize> = (0..photos.all().len()).collect();
        let table = FeatureTable {
            features: &features,
            width,
            photos,
        };
        self.reporter.stage("fitting the head", 0);
        let [train, validation] =
            [Split::Train, Split::Validation].map(|split| table.pick(&photos.of_split(split)));
        let num_classes = photos.labels.len();
        let go_on = || self.reporter.go_on();
        let (train, validation) = (train.examples(width), validation.examples(width));
        let fitted = head::fit(train, validation, num_classes, &self.spec, go_on)?;
        let logits = head::logits(&fitted.layers, &features, width);
        self.reporter.stage("trying splits that leak", 0);
        let random_split_accuracy = self.random_split(&table, &all, fitted.regularisation)?;
        let how = format!(
            "A {} on the {width} pooled features of {} ({origin}); C = {}, {} iterations.",
            match self.spec.head.hidden {
                0 => "logistic regression".into(),
                hidden => format!("head with {hidden} hidden units"),
            },
            self.architecture,
            fitted.regularisation,
            fitted.iterations,
        );
        Ok(Trained {
            weights: network::with_head(&backbone, &fitted.layers),
            logits,
            history: Vec::new(),
            random_split_accuracy,
            how,
        })
    }

    /// The test accuracy, had photos been dealt out one by one instead of by group.
    fn random_split(
        &self,
        table: &FeatureTable<'_>,
        all: &[usize],
        strength: f32,
    ) -> Result<Option<f32>, TrainerError> {
        let num_test = table.photos.of_split(Split::Test).len();
        if num_test == 0 || all.len() > RANDOM_SPLIT_PHOTOS {
            return Ok(None);
        }
        let mut spec = self.spec.clone();
        spec.head.regularisation = vec![strength];
        let num_classes = table.photos.labels.len();
        let nothing = Examples {
            features: &[],
            num_features: table.width,
            classes: &[],
        };
        let mut sum = 0.0;
        for shuffle in 0..RANDOM_SPLITS {
            let shuffled = order(all, self.spec.seed, u64::MAX - shuffle);
            let (test, train) = shuffled.split_at(num_test);
            let (train, test) = (table.pick(train), table.pick(test));
            let go_on = || self.reporter.go_on();
            let examples = train.examples(table.width);
            let fitted = head::fit(examples, nothing, num_classes, &spec, go_on)?;
            let logits = head::logits(&fitted.layers, &test.features, table.width);
            sum += evaluate::accuracy(&logits, &test.classes, num_classes).unwrap_or_default();
        }
        Ok(Some(sum / RANDOM_SPLITS as f32))
    }
}

/// All features, with the photos that they are of.
struct FeatureTable<'a> {
    features: &'a [f32],
    width: usize,
    photos: &'a Photos,
}

/// Some rows of a table, copied together.
struct Picked {
    features: Vec<f32>,
    classes: Vec<u32>,
}

impl FeatureTable<'_> {
    fn pick(&self, places: &[usize]) -> Picked {
        let row = |at: &usize| &self.features[at * self.width..(at + 1) * self.width];
        Picked {
            features: places.iter().flat_map(row).copied().collect(),
            classes: places
                .iter()
                .map(|at| self.photos.all()[*at].class)
                .collect(),
        }
    }
}

impl Picked {
    fn examples(&self, num_features: usize) -> Examples<'_> {
        Examples {
            features: &self.features,
            num_features,
            classes: &self.classes,
        }
    }
}
