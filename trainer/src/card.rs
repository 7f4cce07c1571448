//! The model card: what a person should know before they trust a model, in Markdown.

use std::fmt::Write as _;

use export::{BundleFile, Refused};
use schemas::training::{Training, TrainingSpec};
use schemas::{ModelId, Split};

use crate::evaluate::{Evaluation, SplitEvaluation};
use crate::job::Trained;
use crate::table::Photos;

/// Classes of a confusion matrix that a page can show.
const MAX_SHOWN_CLASSES: usize = 12;

/// What the card tells.
pub struct Facts<'a> {
    /// The model.
    pub id: ModelId,
    /// Its name.
    pub name: &'a str,
    /// The training that made it.
    pub training: &'a Training,
    /// What it was told.
    pub spec: &'a TrainingSpec,
    /// What it has seen.
    pub photos: &'a Photos,
    /// How it was made.
    pub trained: &'a Trained,
    /// How good it is.
    pub evaluation: &'a Evaluation,
    /// Its files so far.
    pub files: &'a [BundleFile],
    /// Those that were not good enough.
    pub refused: &'a [Refused],
}

/// Writes the card.
pub fn write(facts: &Facts<'_>) -> String {
    let mut card = String::new();
    // Writing to a string cannot fail.
    let _ = fill(&mut card, facts);
    card
}

fn fill(card: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    let Facts {
        photos, evaluation, ..
    } = facts;
    writeln!(card, "# {}\n", cell(facts.name))?;
    writeln!(
        card,
        "Tells {} classes apart: {}.\n",
        photos.labels.len(),
        photos
            .labels
            .iter()
            .map(|label| cell(label))
            .collect::<Vec<_>>()
            .join(", ")
    )?;
    writeln!(card, "| | |\n|---|---|")?;
    writeln!(card, "| model | `{}` |", facts.id)?;
    writeln!(card, "| training | `{}` |", facts.training.id)?;
    writeln!(
        card,
        "| data | dataset `{}`, version {} of its table |",
        facts.training.dataset, photos.version
    )?;
    writeln!(
        card,
        "| preset | {}, mode {} |",
        facts.spec.preset, facts.spec.mode
    )?;
    writeln!(card, "| seed | {} |\n", facts.spec.seed)?;
    writeln!(card, "## How it was made\n\n{}\n", facts.trained.how)?;
    writeln!(card, "## How good it is\n")?;
    writeln!(
        card,
        "Photos that resemble each other are always in the same part of the data, so that the \
         test photos are new to the model.\n"
    )?;
    writeln!(
        card,
        "| part | photos | accuracy | macro F1 | calibration error |\n|---|---|---|---|---|"
    )?;
    for (split, part) in [
        (Split::Train, &evaluation.train),
        (Split::Validation, &evaluation.validation),
        (Split::Test, &evaluation.test),
    ] {
        match part {
            Some(part) => writeln!(
                card,
                "| {split} | {} | {:.3} | {:.3} | {:.3} |",
                part.num_photos, part.accuracy, part.macro_f1, part.calibration_error
            )?,
            None => writeln!(card, "| {split} | 0 | | | |")?,
        }
    }
    if let Some(leaky) = evaluation.random_split_accuracy {
        writeln!(
            card,
            "\nOver five random splits, near-duplicates on both sides, the mean test accuracy is \
             {leaky:.3}."
        )?;
    }
    if let Some((split, part)) = evaluation.headline() {
        classes(card, split, part)?;
        confusion(card, part, &evaluation.labels)?;
        mistakes(card, part)?;
    }
    files(card, facts)?;
    writeln!(
        card,
        "## What it is not for\n\nIt knows its {} classes only: shown anything else, it names one \
         of them all the same. Its probabilities are calibrated on photos like those that it \
         learnt from (temperature {:.3}).",
        photos.labels.len(),
        evaluation.temperature
    )
}

fn classes(card: &mut String, split: Split, part: &SplitEvaluation) -> std::fmt::Result {
    writeln!(card, "\n### Class by class, {split} photos\n")?;
    writeln!(
        card,
        "| class | photos | precision | recall | F1 |\n|---|---|---|---|---|"
    )?;
    for class in &part.classes {
        writeln!(
            card,
            "| {} | {} | {:.3} | {:.3} | {:.3} |",
            cell(&class.label),
            class.num_photos,
            class.precision,
            class.recall,
            class.f1
        )?;
    }
    Ok(())
}

fn confusion(card: &mut String, part: &SplitEvaluation, labels: &[String]) -> std::fmt::Result {
    if labels.len() > MAX_SHOWN_CLASSES {
        return writeln!(card, "\n`evaluation.json` has the confusion matrix.");
    }
    writeln!(card, "\nRow: what it is; column: what the model says.\n")?;
    let names: Vec<String> = labels.iter().map(|label| cell(label)).collect();
    writeln!(card, "| | {} |", names.join(" | "))?;
    writeln!(card, "|---|{}", "---|".repeat(labels.len()))?;
    for (name, row) in names.iter().zip(&part.confusion) {
        let row: Vec<String> = row.iter().map(u32::to_string).collect();
        writeln!(card, "| {name} | {} |", row.join(" | "))?;
    }
    Ok(())
}

fn mistakes(card: &mut String, part: &SplitEvaluation) -> std::fmt::Result {
    if part.worst_mistakes.is_empty() {
        return writeln!(card, "\nNone of these photos is taken for another class.\n");
    }
    writeln!(
        card,
        "\n### Worst mistakes\n\n| photo | is | taken for | sure to |\n|---|---|---|---|"
    )?;
    for mistake in part.worst_mistakes.iter().take(5) {
        writeln!(
            card,
            "| `{}` | {} | {} | {:.2} |",
            mistake.id,
            cell(&mistake.label),
            cell(&mistake.predicted),
            mistake.probability
        )?;
    }
    writeln!(card)
}

fn files(card: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    writeln!(
        card,
        "## Files\n\nEach model file was read back and run beside the trained network.\n\n\
         | file | bytes | same answer | largest difference of a logit | photos |\n|---|---|---|---|---|"
    )?;
    for file in facts.files {
        let (name, bytes) = (&file.name, file.bytes.len());
        match &file.certificate {
            Some(parity) => writeln!(
                card,
                "| {name} | {bytes} | {:.1} % | {:.2e} | {} |",
                parity.top1_agreement * 100.0,
                parity.max_logit_difference,
                parity.num_photos
            )?,
            None => writeln!(card, "| {name} | {bytes} | | | |")?,
        }
    }
    for refused in facts.refused {
        writeln!(
            card,
            "\nNot published: {}, {}.",
            refused.name,
            cell(&refused.reason)
        )?;
    }
    writeln!(card)
}

/// A text as a cell of a table: labels may hold anything.
fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '#' => {
                safe.push('\\');
                safe.push(c);
            }
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_label_cannot_break_out_of_its_cell() {
        assert_eq!(cell("a|b\nc"), "a\\|b c");
        assert_eq!(cell("[x](y)"), "\\[x\\](y)");
        assert_eq!(cell("黑猫"), "黑猫");
    }
}
