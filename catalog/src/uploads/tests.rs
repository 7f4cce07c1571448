use schemas::http::{Dataset, Scope};

use super::*;
use crate::testing::TestCatalog;

const LIMITS: UploadLimits = UploadLimits {
    max_open_per_key: 3,
    max_bytes_per_dataset: 1_000,
    unknown_length_bytes: 400,
};

fn new_upload(dataset: &Dataset, principal: &Principal, length_bytes: Option<u64>) -> NewUpload {
    NewUpload {
        id: UploadId::new(),
        dataset: dataset.id.clone(),
        key_id: principal.key_id.clone(),
        head: "{}".into(),
        length_bytes,
        parts: Vec::new(),
    }
}

fn part(upload: &Upload, num_bytes: u64) -> UploadPart {
    UploadPart {
        upload: upload.id,
        first_byte: upload.received_bytes,
        num_bytes,
        fence: upload.fence,
    }
}

#[tokio::test]
async fn what_is_written_after_a_take_over_changes_nothing() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let (_, principal) = test.key("main", &[Scope::Upload]).await;
    let catalog = &test.catalog;
    let new = new_upload(&dataset, &principal, Some(100));
    assert_eq!(
        catalog.open_upload(&new, LIMITS).await.unwrap(),
        Opened::Yes
    );

    let first = catalog.take_upload(new.id).await.unwrap().unwrap();
    assert!(
        catalog
            .append_to_upload(new.id, &part(&first, 30))
            .await
            .unwrap()
    );
    let second = catalog.take_upload(new.id).await.unwrap().unwrap();
    assert_eq!((second.received_bytes, second.fence), (30, first.fence + 1));
    let late = UploadPart {
        first_byte: 30,
        ..part(&first, 10)
    };
    assert!(!catalog.append_to_upload(new.id, &late).await.unwrap());
    assert!(
        !catalog
            .set_upload_length(new.id, first.fence, 100)
            .await
            .unwrap()
    );
    assert!(
        catalog
            .append_to_upload(new.id, &part(&second, 70))
            .await
            .unwrap()
    );
    assert!(
        !catalog
            .set_upload_length(new.id, second.fence, 99)
            .await
            .unwrap()
    );

    let halted = catalog.halt_upload(new.id).await.unwrap().unwrap();
    assert!(!halted.is_written);
    assert_eq!(halted.received_bytes, 100);
    assert_eq!(
        halted.parts,
        [
            part(&first, 30),
            UploadPart {
                first_byte: 30,
                ..part(&second, 70)
            }
        ]
    );
    let late = UploadPart {
        first_byte: 100,
        ..part(&second, 1)
    };
    assert!(!catalog.append_to_upload(new.id, &late).await.unwrap());
}

#[tokio::test]
async fn an_answer_is_kept_across_a_restart_and_ends_the_upload() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let (_, principal) = test.key("main", &[Scope::Upload]).await;
    let (_, other) = test.key("main", &[Scope::Upload]).await;
    let new = new_upload(&dataset, &principal, None);
    test.catalog.open_upload(&new, LIMITS).await.unwrap();
    let turn = test.catalog.take_upload(new.id).await.unwrap().unwrap();
    let answers = [202, 400].map(|status| StoredAnswer {
        status,
        body: "{}".into(),
    });
    for answer in &answers {
        test.catalog.answer_upload(new.id, 5, answer).await.unwrap();
    }
    assert!(
        !test
            .catalog
            .append_to_upload(new.id, &part(&turn, 5))
            .await
            .unwrap()
    );

    let test = test.reopen().await;
    let found = test
        .catalog
        .find_upload(&principal, new.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.answer.as_ref(), Some(&answers[0]));
    assert_eq!((found.length_bytes, found.received_bytes), (Some(5), 5));
    assert_eq!(
        test.catalog.find_upload(&other, new.id).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn open_uploads_are_limited_by_number_and_by_bytes_and_complete_ones_are_not_counted() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let (_, principal) = test.key("main", &[Scope::Upload]).await;
    let (_, other) = test.key("main", &[Scope::Upload]).await;
    let open = async |principal, length| {
        let new = new_upload(&dataset, principal, length);
        (
            new.id,
            test.catalog.open_upload(&new, LIMITS).await.unwrap(),
        )
    };
    let (first, opened) = open(&principal, Some(500)).await;
    assert_eq!(opened, Opened::Yes);
    assert_eq!(open(&principal, None).await.1, Opened::Yes);
    assert_eq!(open(&principal, Some(101)).await.1, Opened::DatasetFull);
    assert_eq!(open(&principal, Some(100)).await.1, Opened::Yes);
    assert_eq!(open(&principal, Some(0)).await.1, Opened::KeyFull);
    assert_eq!(open(&other, Some(0)).await.1, Opened::Yes);
    let answer = StoredAnswer {
        status: 202,
        body: "{}".into(),
    };
    test.catalog
        .answer_upload(first, 500, &answer)
        .await
        .unwrap();
    assert_eq!(open(&principal, Some(400)).await.1, Opened::Yes);
}

#[tokio::test]
async fn a_disowned_upload_is_gone_for_its_key_and_counts_no_more_but_is_kept_for_a_while() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let (_, principal) = test.key("main", &[Scope::Upload]).await;
    let limits = UploadLimits {
        max_open_per_key: 1,
        ..LIMITS
    };
    let open = async || {
        let new = new_upload(&dataset, &principal, None);
        (
            new.id,
            test.catalog.open_upload(&new, limits).await.unwrap(),
        )
    };
    let (id, opened) = open().await;
    assert_eq!(opened, Opened::Yes);
    assert_ne!(open().await.1, Opened::Yes);
    let until = test.catalog.now() + Duration::from_secs(3600);
    test.catalog.disown_upload(id, until).await.unwrap();
    let found = test.catalog.find_upload(&principal, id).await.unwrap();
    assert_eq!(found, None);
    let expired = async || test.catalog.expired_uploads(10).await.unwrap();
    assert_eq!(expired().await, []);
    assert_eq!(open().await.1, Opened::Yes);
    test.clock.advance(Duration::from_secs(3601));
    let expired = expired().await;
    assert_eq!(
        expired.iter().map(|upload| upload.id).collect::<Vec<_>>(),
        [id]
    );
}

#[tokio::test]
async fn an_upload_expires_a_day_after_its_last_byte_and_after_a_week_in_any_case() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let (_, principal) = test.key("main", &[Scope::Upload]).await;
    let new = new_upload(&dataset, &principal, None);
    test.catalog.open_upload(&new, LIMITS).await.unwrap();
    let expired = async || test.catalog.expired_uploads(10).await.unwrap().len();
    for _ in 0..8 {
        test.clock.advance(Duration::from_secs(20 * 3600));
        assert_eq!(expired().await, 0);
        let turn = test.catalog.take_upload(new.id).await.unwrap().unwrap();
        assert!(
            test.catalog
                .append_to_upload(new.id, &part(&turn, 1))
                .await
                .unwrap()
        );
    }
    test.clock.advance(Duration::from_secs(9 * 3600));
    assert_eq!(expired().await, 1);
    test.catalog.forget_upload(new.id).await.unwrap();
    assert_eq!(test.catalog.take_upload(new.id).await.unwrap(), None);

    let new = new_upload(&dataset, &principal, None);
    test.catalog.open_upload(&new, LIMITS).await.unwrap();
    test.catalog.forget_upload(new.id).await.unwrap();
    assert!(
        test.catalog.take_upload(new.id).await.unwrap().is_some(),
        "too early"
    );
    test.catalog.expire_upload(new.id).await.unwrap();
    assert_eq!(expired().await, 1);
}
