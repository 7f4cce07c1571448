//! Presets, overrides, and every kind of slip of the finger.

use super::*;

fn resolved(json: &str) -> Result<TrainingSpec, InvalidSpec> {
    resolve(&serde_json::from_str(json).unwrap())
}

#[test]
fn every_preset_is_valid_and_survives_json() {
    for preset in Preset::ALL {
        let spec = resolved(&format!("{{\"preset\": {:?}}}", preset.as_str())).unwrap();
        assert_eq!(spec.preset, *preset);
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<TrainingSpec>(&json).unwrap(), spec);
    }
}

#[test]
fn a_field_overrides_the_preset_and_a_group_may_be_given_in_part() {
    let spec = resolved(
        r#"{"preset": "balanced", "batch_size": 8, "augment": {"flip": false}, "epochs": 3}"#,
    )
    .unwrap();
    assert_eq!(spec.batch_size, 8);
    assert!(!spec.augment.flip);
    assert!(spec.augment.jitter > 0.0, "the rest of the group stays");
    assert_eq!(spec.phases.last().unwrap().epochs, 3);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (json, field, word) in [
        (r#"{"preset": "quick"}"#, "preset", "classic-two-phase"),
        (r#"{"batchsize": 8}"#, "batchsize", "batch_size"),
        (r#"{"augment": {"flop": true}}"#, "augment.flop", "flip"),
        (r#"{"batch_size": 0}"#, "batch_size", "1 to 4096"),
        (r#"{"input_size": 225}"#, "input_size", "multiple of 32"),
        (r#"{"label_smoothing": 0.9}"#, "label_smoothing", "0.5"),
        (r#"{"classes": ["cat"]}"#, "classes", "two"),
        (r#"{"classes": ["cat", "cat"]}"#, "classes", "twice"),
        (r#"{"phases": []}"#, "phases", "1 to 16"),
        (r#"{"epochs": 0}"#, "phases[1].epochs", "1 to 10000"),
        (
            r#"{"architecture": "vgg16"}"#,
            "architecture",
            "mobilenet_v2",
        ),
        (r#"{"weights": "mine"}"#, "weights", "imagenet"),
        (r#"{"batch_size": "many"}"#, "spec", "u32"),
        (r#"{"preset": "fast", "epochs": 3}"#, "epochs", "phases"),
        (
            r#"{"mode": "scratch", "weights": "01890a5d-ac96-774b-bcce-b302099a8057"}"#,
            "weights",
            "finetune",
        ),
    ] {
        let error = resolved(json).unwrap_err();
        assert_eq!(error.field, field, "{json}: {error}");
        assert!(error.fault.contains(word), "{json}: {error}");
    }
}
