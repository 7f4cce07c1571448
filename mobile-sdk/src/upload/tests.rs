//! What answers mean.

use super::*;
use crate::transport::HttpHeader;

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Meaning {
    let headers = headers.iter().map(|(name, value)| HttpHeader {
        name: (*name).into(),
        value: (*value).into(),
    });
    meaning(&Ok(HttpResponse {
        status,
        headers: headers.collect(),
        body: body.into(),
    }))
}

const ID: &str = "01890000-0000-7000-8000-000000000001";

#[test]
fn a_receipt_is_read_from_the_body_or_from_the_headers_alone() {
    let body = format!(r#"{{"id":"{ID}","status":"queued","sha256":"00"}}"#);
    let headers = [("x-capture-id", ID), ("X-Capture-Status", "duplicate")];
    for (found, known) in [
        (answer(202, &[], &body), false),
        (answer(200, &headers, ""), true),
    ] {
        let Meaning::There {
            capture_id,
            is_known,
            ..
        } = found
        else {
            panic!("{found:?}")
        };
        assert_eq!((capture_id.to_string().as_str(), is_known), (ID, known));
    }
}

#[test]
fn a_log_in_page_is_no_receipt() {
    let found = answer(
        200,
        &[("Content-Type", "text/html")],
        "<html>Welcome to the hotel",
    );
    assert!(matches!(&found, Meaning::Again { reason, .. } if reason.code == "not_tintype"));
}

#[test]
fn each_status_has_its_meaning() {
    let problem = |status: u16, code: &str| {
        let body = format!(
            r#"{{"type":"about:blank","title":"t","status":{status},"code":"{code}","detail":"d"}}"#
        );
        answer(status, &[("Retry-After", "7")], &body)
    };
    let again = |found: Meaning| match found {
        Meaning::Again {
            reason,
            retry_after,
        } => (reason.code, retry_after.unwrap().as_secs()),
        other => panic!("{other:?}"),
    };
    for status in [408, 409, 429, 500, 503] {
        assert_eq!(again(problem(status, "busy")), ("busy".into(), 7));
    }
    assert_eq!(again(problem(400, "digest_mismatch")).0, "digest_mismatch");
    for status in [401, 403, 404] {
        assert!(
            matches!(problem(status, "x"), Meaning::Everything(_)),
            "{status}"
        );
    }
    for status in [400, 413, 415, 422] {
        assert!(
            matches!(problem(status, "x"), Meaning::Never(_)),
            "{status}"
        );
    }
    // A proxy's page says no more than its status.
    let Meaning::Again { reason, .. } = answer(502, &[], "<html>Bad Gateway") else {
        panic!("502 passes")
    };
    assert_eq!(reason.code, "http_502");
}
