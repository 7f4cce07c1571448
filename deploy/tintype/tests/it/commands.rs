//! The command line against a running server: what it prints for programs, and how it ends.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::pictures;
use crate::server::Server;

/// Runs a command with a home of its own; its output and exit code.
fn tintype(server: &Server, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tintype"))
        .args(arguments)
        .env("TINTYPE_URL", &server.url)
        .env("TINTYPE_KEY", &server.key)
        .env("HOME", server.folder.path())
        .env("XDG_STATE_HOME", server.folder.path().join("state"))
        .env("XDG_CONFIG_HOME", server.folder.path().join("config"))
        .current_dir(server.folder.path())
        .output()
        .unwrap()
}

/// The same with `--json`, for commands that end well.
fn json(server: &Server, arguments: &[&str]) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    let output = tintype(server, &arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn code(server: &Server, arguments: &[&str]) -> (i32, String) {
    let output = tintype(server, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), said)
}

fn photo(folder: &Path, name: &str, number: u64) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, pictures::jpeg(number)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_a_key_an_upload_and_its_status_from_the_command_line() {
    let server = Server::start().await;
    let made = json(&server, &["dataset", "create", "cats"]);
    assert_eq!(made["name"], "cats", "{made}");
    let listed = json(&server, &["dataset", "list"]);
    assert!(listed.to_string().contains("cats"), "{listed}");

    photo(server.folder.path(), "tom.jpg", 1);
    let sent = json(
        &server,
        &[
            "upload",
            "tom.jpg",
            "--dataset",
            "cats",
            "--label",
            "manx",
            "--wait",
        ],
    );
    let capture = &sent["captures"][0];
    assert_eq!(
        (capture["status"].as_str(), capture["label"].as_str()),
        (Some("accepted"), Some("manx")),
        "{sent}"
    );
    let id = capture["id"].as_str().unwrap();
    assert_eq!(json(&server, &["status", id])["id"], id);
    let again = json(
        &server,
        &["upload", "tom.jpg", "--dataset", "cats", "--label", "manx"],
    );
    assert_eq!(again["captures"][0]["duplicate_of"], id, "{again}");
    let status = json(&server, &["status", "cats"]);
    assert!(status.to_string().contains("\"accepted\":1"), "{status}");

    let key = json(
        &server,
        &[
            "key",
            "create",
            "phone",
            "--scope",
            "upload",
            "--dataset",
            "cats",
        ],
    );
    let token = key["token"].as_str().unwrap();
    let with_it = |arguments: &[&str]| {
        let mut all = vec!["--key", token];
        all.extend(arguments);
        code(&server, &all)
    };
    assert_eq!(
        with_it(&["upload", "tom.jpg", "--dataset", "cats", "--label", "x"]).0,
        0
    );
    assert_eq!(with_it(&["dataset", "create", "dogs"]).0, 3);
    let key_id = key["id"].as_str().unwrap();
    json(&server, &["key", "revoke", key_id]);
    assert_eq!(
        with_it(&["upload", "tom.jpg", "--dataset", "cats", "--label", "x"]).0,
        3
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_sends_each_file_once_however_often_it_is_run() {
    let server = Server::start().await;
    let photos = server.folder.path().join("photos");
    for number in 0..12 {
        let name = format!("{}/{number}.jpg", ["manx", "siamese"][number % 2]);
        photo(&photos, &name, number as u64);
    }
    std::fs::copy(photos.join("manx/0.jpg"), photos.join("manx/copy.jpg")).unwrap();
    std::fs::write(photos.join("manx/notes.jpg"), "no picture").unwrap();
    let import = ["import", "photos", "--dataset", "cats", "--create"];
    // Sends only; the next run takes up its journal.
    let first = json(&server, &[&import[..], &["--no-wait"]].concat());
    assert_eq!(
        (first["found"].as_u64(), first["sent_now"].as_u64()),
        (Some(14), Some(14)),
        "{first}"
    );
    let second = json(&server, &import);
    assert_eq!(second["sent_now"], 0, "{second}");
    let counts = ["accepted", "duplicate", "rejected", "undecided", "failed"]
        .map(|name| second[name].as_u64().unwrap());
    assert_eq!(counts, [12, 1, 1, 0, 0], "{second}");
    photo(&photos, "manx/late.jpg", 99);
    let third = json(&server, &import);
    assert_eq!(
        (third["sent_now"].as_u64(), third["accepted"].as_u64()),
        (Some(1), Some(13)),
        "{third}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_fail_has_its_exit_code_and_its_words() {
    let server = Server::start().await;
    photo(server.folder.path(), "tom.jpg", 1);
    let upload = ["upload", "tom.jpg", "--label", "a", "--dataset"];
    let (exit, said) = code(&server, &[&upload[..], &["nowhere"]].concat());
    assert_eq!(exit, 4, "{said}");
    assert!(said.contains("nowhere") && said.contains("hint:"), "{said}");
    let (exit, said) = code(&server, &["--json", "dataset", "show", "nowhere"]);
    assert_eq!(exit, 4);
    let problem: Value = serde_json::from_str(said.trim()).unwrap();
    assert!(
        problem["error"].is_object() || problem["code"].is_string(),
        "{problem}"
    );
    assert_eq!(code(&server, &["dataset", "show"]).0, 2);
    assert_eq!(
        code(&server, &["--key", "tt_wrong", "dataset", "list"]).0,
        3
    );
    let away = ["--url", "http://127.0.0.1:1", "status"];
    assert_eq!(code(&server, &away).0, 5);
    let (exit, said) = code(
        &server,
        &[&upload[..4], &["missing.jpg", "--dataset", "x"]].concat(),
    );
    assert!(matches!(exit, 1 | 2 | 4 | 6), "{exit}: {said}");
}
