//! A label is the same whichever way it comes, and the dataset's policy judges it.

use ingest::IngestSettings;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::harness::{Form, Reply, World, jpeg};

async fn send_both(world: &World, label: &str, seed: u64) -> [Reply; 2] {
    let encoded = utf8_percent_encode(label, NON_ALPHANUMERIC).to_string();
    let request = world.upload().header("x-label", encoded);
    let request = request.body(jpeg(seed, 2000).into()).unwrap();
    let by_header = world.send(request).await;
    let form = Form::new()
        .part("label", label)
        .file("x.jpg", &jpeg(seed + 1, 2000));
    [by_header, form.send(world).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_in_any_script_is_kept_by_header_and_by_part() {
    let world = World::new().await;
    let long = "ل".repeat(128);
    let labels = [
        "قطة",
        "बिल्ली",
        "猫",
        "🐈‍⬛",
        "a/b",
        "50% \"wool\"; cat=1",
        "..",
        &long,
    ];
    for (i, label) in labels.into_iter().enumerate() {
        for reply in send_both(&world, label, 10 * (i as u64 + 1)).await {
            let id = reply.assert_queued().id.to_string();
            let capture = world.get(&format!("/v1/captures/{id}")).await;
            assert_eq!(capture.body["label"], label);
        }
    }
    let mut sent: Vec<_> = labels.into_iter().flat_map(|label| [label; 2]).collect();
    let events = world.events();
    let mut stored: Vec<_> = events.iter().map(|event| event.label.as_str()).collect();
    sent.sort_unstable();
    stored.sort_unstable();
    assert_eq!(stored, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_breaks_the_rule_is_refused_by_header_and_by_part() {
    let world = World::new().await;
    let too_long = "猫".repeat(100);
    for (label, word) in [
        ("a\nb", "U+000A"),
        ("a\u{2028}b", "U+2028"),
        ("\u{0}", "U+0000"),
        (too_long.as_str(), "300 bytes"),
        ("  ", "empty"),
    ] {
        for reply in send_both(&world, label, 1).await {
            let problem = reply.assert_refused(422, "invalid_label");
            assert!(problem.detail.contains(word), "{}", problem.detail);
        }
    }
    world.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_name_tells_the_label_by_header_and_by_part() {
    let world = World::new().await;
    let request = world.upload().header("x-file-name", "chat%20noir.12.jpg");
    let request = request.body(jpeg(1, 2000).into()).unwrap();
    world.send(request).await.assert_queued();
    let form = Form::new().file("chat noir.13.jpg", &jpeg(2, 2000));
    form.send(&world).await.assert_queued();
    let events = world.events();
    let labels: Vec<_> = events.iter().map(|event| &event.label).collect();
    assert_eq!(labels, ["chat noir", "chat noir"]);

    let reply = world
        .send(world.upload().body(jpeg(3, 2000).into()).unwrap())
        .await;
    reply.assert_refused(422, "label_missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_reject_refuses_unknown_labels_and_names_the_nearest() {
    let dataset =
        json!({"labels": ["cat", "dog", "horse"], "policy": {"unknown_labels": "reject"}});
    let world = World::with(dataset, IngestSettings::default()).await;
    for reply in send_both(&world, "cta", 1).await {
        let problem = reply.assert_refused(422, "unknown_label");
        let hint = problem.hint.unwrap();
        assert!(
            hint.contains("\"cat\"") && !hint.contains("horse"),
            "{hint}"
        );
    }
    world.assert_nothing_stored().await;
    world.send_cat(jpeg(3, 2000)).await.assert_queued();
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_review_takes_unknown_labels_in_and_marks_them() {
    let dataset = json!({"labels": ["cat"], "policy": {"unknown_labels": "review"}});
    let world = World::with(dataset, IngestSettings::default()).await;
    for reply in send_both(&world, "lynx", 1).await {
        reply.assert_queued();
    }
    world.send_cat(jpeg(3, 2000)).await.assert_queued();
    for event in world.events() {
        assert_eq!(event.unknown_label, event.label == "lynx");
    }
    let dataset = world.get(&format!("/v1/datasets/{}", world.dataset)).await;
    assert_eq!(dataset.body["labels"], json!(["cat"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_add_lists_a_label_once_its_photo_is_in_and_not_before() {
    let world = World::new().await;
    let labels = async || {
        let dataset = world.get(&format!("/v1/datasets/{}", world.dataset)).await;
        dataset.body["labels"].clone()
    };
    let text = world.upload().header("x-label", "lynx");
    let text = text.body("no picture".into()).unwrap();
    world.send(text).await.assert_refused(415, "not_an_image");
    assert_eq!(labels().await, json!([]));
    world.send_cat(jpeg(1, 2000)).await.assert_queued();
    assert_eq!(labels().await, json!(["cat"]));
}
