//! `/v1/datasets/{dataset}/duplicates`.

use schemas::CaptureId;
use schemas::events::CaptureDecided;
use schemas::http::{DuplicateList, Scope};

use crate::NewCapture;
use crate::testing::{TestCatalog, decided};

fn accepted(capture: &NewCapture, group: CaptureId) -> CaptureDecided {
    CaptureDecided {
        group_id: Some(group.to_string()),
        ..decided(capture, "accepted")
    }
}

fn duplicate(capture: &NewCapture, twin: CaptureId) -> CaptureDecided {
    CaptureDecided {
        group_id: None,
        reason: Some("near_duplicate".into()),
        twin_id: Some(twin.to_string()),
        ..decided(capture, "duplicate")
    }
}

#[tokio::test]
async fn copies_stand_under_the_first_photo_of_their_group_whoever_their_twin_is() {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Read]).await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let other = test.dataset("main", "dogs", &[]).await;
    let mut captures = Vec::new();
    for number in 0..7 {
        captures.push(test.queued(&dataset, &number.to_string()).await);
    }
    let id = |n: usize| captures[n].id;
    let stranger = test.queued(&other, "0").await;
    let verdicts = [
        accepted(&captures[0], id(0)),
        accepted(&captures[1], id(1)),
        // Kept beside the first, then dropped because of the one beside it.
        accepted(&captures[2], id(0)),
        duplicate(&captures[3], id(2)),
        duplicate(&captures[4], id(1)),
        // The same file as one that was a copy itself.
        duplicate(&captures[5], id(4)),
        duplicate(&stranger, id(0)),
    ];
    test.catalog.record_outcomes(&verdicts).await.unwrap();
    let expected = vec![(id(0), vec![id(2), id(3)]), (id(1), vec![id(4), id(5)])];

    let api = test.api();
    let whole = api.get(&token, "/v1/datasets/cats/duplicates").await;
    let whole: DuplicateList = serde_json::from_value(whole.body).unwrap();
    assert_eq!(whole.next, None);
    let ids = |list: &DuplicateList| -> Vec<(CaptureId, Vec<CaptureId>)> {
        let copies =
            |group: &schemas::http::DuplicateGroup| group.copies.iter().map(|c| c.id).collect();
        list.groups
            .iter()
            .map(|group| (group.group_id, copies(group)))
            .collect()
    };
    assert_eq!(ids(&whole), expected);

    let (mut path, mut pairs) = (
        "/v1/datasets/cats/duplicates?limit=1".to_owned(),
        Vec::new(),
    );
    loop {
        let page = api.get(&token, &path).await;
        let page: DuplicateList = serde_json::from_value(page.body).unwrap();
        pairs.extend(
            ids(&page)
                .into_iter()
                .flat_map(|(group, copies)| copies.into_iter().map(move |copy| (group, copy))),
        );
        let Some(next) = page.next else { break };
        path = format!("/v1/datasets/cats/duplicates?limit=1&after={next}");
    }
    let expected: Vec<_> = expected
        .into_iter()
        .flat_map(|(group, copies)| copies.into_iter().map(move |copy| (group, copy)))
        .collect();
    assert_eq!(pairs, expected);
}

#[tokio::test]
async fn a_place_that_is_none_and_a_limit_without_sense_are_400() {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Read]).await;
    test.dataset("main", "cats", &[]).await;
    let api = test.api();
    for query in ["after=7", "limit=0", "limit=1001", "first=1"] {
        let answer = api
            .get(&token, &format!("/v1/datasets/cats/duplicates?{query}"))
            .await;
        assert_eq!(answer.code(), "invalid_query", "{query}");
    }
}
