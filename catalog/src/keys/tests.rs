//! Keys: the first one, their form, and how many there may be.

use super::*;
use crate::testing::TestCatalog;

#[tokio::test]
async fn the_first_key_is_the_operators_and_is_made_once() {
    let test = TestCatalog::open().await;
    let first = test.catalog.ensure_first_key().await.unwrap().unwrap();
    let principal = test
        .catalog
        .authenticate(&first.token)
        .await
        .unwrap()
        .unwrap();
    assert!(principal.is_operator());
    assert!(test.catalog.ensure_first_key().await.unwrap().is_none());
    let test = test.reopen().await;
    assert!(test.catalog.ensure_first_key().await.unwrap().is_none());
    let again = test.catalog.authenticate(&first.token).await.unwrap();
    assert_eq!(again, Some(principal));
}

#[tokio::test]
async fn the_file_holds_no_token() {
    let test = TestCatalog::open_file().await;
    let first = test.catalog.ensure_first_key().await.unwrap().unwrap();
    test.catalog
        .authenticate(&first.token)
        .await
        .unwrap()
        .unwrap();
    test.catalog.close().await;
    let mut num_files = 0;
    for file in std::fs::read_dir(test.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let secret = &first.token.as_bytes()[3..];
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        num_files += 1;
    }
    assert!(num_files > 0);
}

#[test]
fn tokens_have_two_hundred_random_bits() {
    let tokens: std::collections::HashSet<_> = (0..1_000).map(|_| random_text::<25>()).collect();
    assert_eq!(tokens.len(), 1_000);
    assert!(tokens.iter().all(|token| is_token(&format!("tt_{token}"))));
}

#[test]
fn only_the_operators_free_admin_keys_are_the_operators() {
    let principal = |owner: &str, scope, dataset: Option<&str>| Principal {
        key_id: "key_x".into(),
        owner: owner.into(),
        scopes: vec![scope],
        dataset: dataset.map(|id| id.parse().unwrap()),
    };
    assert!(principal(OPERATOR, Scope::Admin, None).is_operator());
    assert!(!principal(OPERATOR, Scope::Read, None).is_operator());
    assert!(!principal("alice", Scope::Admin, None).is_operator());
    assert!(!principal(OPERATOR, Scope::Admin, Some("cats-abc234")).is_operator());
    assert!(principal("alice", Scope::Admin, None).has(Scope::Upload));
    assert!(!principal("alice", Scope::Read, None).has(Scope::Upload));
}

#[tokio::test]
async fn an_owner_has_a_thousand_keys_and_a_revoked_one_makes_room() {
    let test = TestCatalog::open().await;
    let (_, mut last) = test.key("main", &[Scope::Admin]).await;
    let new = |name: &str| NewKey {
        name: name.into(),
        owner: "main".into(),
        scopes: vec![Scope::Read],
        dataset: None,
    };
    let admin = last.clone();
    let rest = (1..MAX_KEYS).map(|_| test.catalog.create_key(new("k")));
    for created in futures::future::join_all(rest).await {
        last.key_id = created.unwrap().key.id;
    }
    let error = test
        .catalog
        .create_key(new("one more"))
        .await
        .err()
        .unwrap();
    assert!(error.is_refusal());
    assert_eq!(
        error.to_string(),
        "an owner may have at most 1000 keys in use"
    );
    assert!(test.catalog.revoke_key(&admin, &last.key_id).await.unwrap());
    test.catalog.create_key(new("one more")).await.unwrap();
    // Another owner has a thousand of their own.
    test.key("other", &[Scope::Read]).await;
}
