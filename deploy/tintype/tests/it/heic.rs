//! HEIF is decoded beside the server: what breaks the decoder breaks one child and nothing else.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// What the child answers to a file: its first line, if it lived to tell one.
fn decode(file: &[u8], milliseconds: &str) -> Option<serde_json::Value> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tintype"))
        .args(["decode-heif", "64000000", "1048576", milliseconds])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may be gone before it has read everything.
    let _ = stdin.write_all(file);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let line = output.stdout.split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice(line).ok()
}

#[test]
fn the_child_answers_what_it_cannot_read_with_a_reason() {
    for file in [
        &b""[..],
        b"no picture",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    ] {
        let answer = decode(file, "5000").unwrap();
        assert!(answer["Refused"]["reason"].is_string(), "{answer}");
    }
}

#[test]
fn the_child_ends_at_its_deadline_though_nobody_writes_to_it() {
    let began = std::time::Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tintype"))
        .args(["decode-heif", "1", "1", "300"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    let status = child.wait().unwrap();
    drop(stdin);
    assert!(!status.success());
    assert!(began.elapsed().as_secs() < 5);
}
