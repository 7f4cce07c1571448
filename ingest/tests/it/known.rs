//! Hashes that clients ask about before they send.

use schemas::Sha256;
use schemas::http::CheckedCaptures;
use serde_json::json;

use crate::harness::{World, jpeg};

#[tokio::test]
async fn known_hashes_name_their_capture_and_others_are_unknown_in_the_order_asked() {
    let world = World::new().await;
    let photos = [jpeg(1, 1000), jpeg(2, 1000), jpeg(3, 1000)];
    let first = world.send_cat(photos[0].clone()).await.assert_queued();
    let third = world.send_cat(photos[2].clone()).await.assert_queued();
    let again = world.send_cat(photos[2].clone()).await.receipt();
    assert_eq!(again.duplicate_of, Some(third.id));
    let hashes: Vec<_> = photos
        .iter()
        .map(|photo| Sha256::of(photo).to_string())
        .collect();
    let path = format!("/v1/datasets/{}/captures/check", world.dataset);
    let body = json!({"sha256": [hashes[2], hashes[1], hashes[0].to_uppercase()]});
    let reply = world.call("POST", &path, body).await;
    let checked: CheckedCaptures = serde_json::from_value(reply.body).unwrap();
    let told: Vec<_> = checked
        .results
        .iter()
        .map(|one| (one.known, one.capture))
        .collect();
    assert_eq!(
        told,
        [
            (true, Some(third.id)),
            (false, None),
            (true, Some(first.id))
        ]
    );
    assert_eq!(checked.results[2].sha256, hashes[0]);

    for bad in [json!([]), json!(["x"]), json!(vec!["0".repeat(64); 1001])] {
        let reply = world.call("POST", &path, json!({"sha256": bad})).await;
        reply.assert_refused(422, "invalid_value");
    }
    let reader = world
        .create_key(json!({"name": "reader", "scopes": ["read"]}))
        .await;
    let mut other = world;
    other.token = reader.token;
    let reply = other.call("POST", &path, json!({"sha256": hashes})).await;
    reply.assert_refused(403, "insufficient_scope");
}
