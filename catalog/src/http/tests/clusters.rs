//! `/v1/datasets/{dataset}/clusters`.

use schemas::events::CaptureDecided;
use schemas::http::{Capture, ClusterList, Scope};

use crate::NewCapture;
use crate::testing::{TestCatalog, decided};

fn placed(capture: &NewCapture, cluster: i64, distance: f32, outlier: bool) -> CaptureDecided {
    CaptureDecided {
        cluster_id: Some(cluster),
        cluster_distance: Some(distance),
        outlier: Some(outlier),
        ..decided(capture, "accepted")
    }
}

/// What is told of a photo after a new fit.
fn moved(capture: &NewCapture, cluster: i64, distance: f32) -> CaptureDecided {
    CaptureDecided {
        capture_id: capture.id.to_string(),
        dataset_id: capture.dataset.to_string(),
        cluster_id: Some(cluster),
        cluster_distance: Some(distance),
        outlier: Some(false),
        ..CaptureDecided::default()
    }
}

#[tokio::test]
async fn kinds_have_their_photos_labels_and_best_examples_by_the_newest_fit() {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Read]).await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let other = test.dataset("main", "dogs", &[]).await;
    let mut captures = Vec::new();
    for number in 0..6 {
        captures.push(test.queued(&dataset, &number.to_string()).await);
    }
    let stranger = test.queued(&other, "0").await;
    let told = [
        placed(&captures[0], 7, 0.3, false),
        placed(&captures[1], 7, 0.1, false),
        placed(&captures[2], 7, 0.05, true),
        placed(&captures[3], 7, 0.2, false),
        // Before the first fit.
        decided(&captures[4], "accepted"),
        decided(&captures[5], "rejected"),
        placed(&stranger, 7, 0.0, false),
        moved(&captures[3], 9, 0.4),
        moved(&captures[4], 9, 0.1),
        // Neither accepted nor of this dataset.
        moved(&captures[5], 9, 0.1),
        moved(&stranger, 9, 0.2),
        // The second telling, with the table's version: what was told in between stays.
        CaptureDecided {
            table_version: Some(3),
            ..placed(&captures[3], 7, 0.2, false)
        },
    ];
    test.catalog.record_outcomes(&told).await.unwrap();

    let api = test.api();
    let list = api.get(&token, "/v1/datasets/cats/clusters").await;
    let list: ClusterList = serde_json::from_value(list.body).unwrap();
    let id = |n: usize| captures[n].id;
    let [seven, nine] = &list.clusters[..] else {
        panic!("{list:?}");
    };
    assert_eq!(
        (seven.cluster_id, seven.num_photos, seven.num_outliers),
        (7, 3, 1)
    );
    assert_eq!(seven.representatives, [id(1), id(0), id(2)]);
    assert_eq!(
        seven
            .labels
            .iter()
            .map(|label| label.num_photos)
            .sum::<u64>(),
        3
    );
    assert_eq!(
        (nine.cluster_id, nine.num_photos, nine.num_outliers),
        (9, 2, 0)
    );
    assert_eq!(nine.representatives, [id(4), id(3)]);

    let capture = api.get(&token, &format!("/v1/captures/{}", id(3))).await;
    let capture: Capture = serde_json::from_value(capture.body).unwrap();
    assert_eq!(capture.table_version, Some(3));
    let place = capture.cluster.unwrap();
    assert_eq!((place.cluster_id, place.outlier), (9, false));
}

#[tokio::test]
async fn a_dataset_without_embeddings_has_no_kinds() {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Read]).await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let capture = test.queued(&dataset, "0").await;
    let told = [decided(&capture, "accepted")];
    test.catalog.record_outcomes(&told).await.unwrap();
    let list = test.api().get(&token, "/v1/datasets/cats/clusters").await;
    assert_eq!(list.body["clusters"], serde_json::json!([]));
}
