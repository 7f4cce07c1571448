//! A `tintype up` of its own for each test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Response};
use serde_json::Value;

/// A running server and the folder that it may be killed and restarted on.
pub struct Server {
    pub folder: tempfile::TempDir,
    pub url: String,
    pub key: String,
    pub http: Client,
    process: Child,
}

impl Server {
    /// A first start on an empty folder.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same with other settings in its environment.
    pub async fn start_with(settings: impl Fn(&mut Command)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let url = format!("http://127.0.0.1:{port}");
        let process = spawn(folder.path(), port, &settings);
        let http = Client::builder()
            .timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        let mut server = Self {
            folder,
            url,
            key: String::new(),
            http,
            process,
        };
        server.wait_until_ready().await;
        let said = std::fs::read_to_string(server.folder.path().join("stdout")).unwrap();
        let at = said.find("tt_").expect("the first start shows a key");
        server.key = said[at..].split_whitespace().next().unwrap().to_owned();
        server
    }

    /// SIGKILL, at once.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts again on the same folder and address, without waiting.
    pub fn start_again(&mut self) {
        let port = self.url.rsplit(':').next().unwrap().parse().unwrap();
        self.process = spawn(self.folder.path(), port, &|_| {});
    }

    /// The same with other settings.
    pub fn start_again_with(&mut self, settings: impl Fn(&mut Command)) {
        let port = self.url.rsplit(':').next().unwrap().parse().unwrap();
        self.process = spawn(self.folder.path(), port, &settings);
    }

    /// Whether the process has ended, with which code.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.process.try_wait().unwrap().map(|status| status.code())
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.process.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    pub async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Ok(answer) = self.http.get(format!("{}/readyz", self.url)).send().await
                && answer.status() == 200
            {
                return;
            }
            let said =
                || std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "not ready after a minute:\n{}",
                said()
            );
            if let Some(code) = self.process.try_wait().unwrap() {
                panic!("ended with {code} before it was ready:\n{}", said());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn make_dataset(&self, name: &str, body: Value) -> String {
        let mut body = body;
        body["name"] = name.into();
        let answer = self
            .http
            .post(format!("{}/v1/datasets", self.url))
            .bearer_auth(&self.key)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201);
        answer.json::<Value>().await.unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub async fn post(
        &self,
        dataset: &str,
        label: &str,
        key: Option<&str>,
        body: Vec<u8>,
    ) -> reqwest::Result<Response> {
        let mut request = self
            .http
            .post(format!("{}/v1/datasets/{dataset}/captures", self.url))
            .bearer_auth(&self.key)
            .header("X-Label", label)
            .body(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        request.send().await
    }

    pub async fn get(&self, path: &str) -> reqwest::Result<Response> {
        self.http
            .get(format!("{}{path}", self.url))
            .bearer_auth(&self.key)
            .send()
            .await
    }

    /// The capture once it has a verdict, and once it is in the table if it was accepted.
    pub async fn verdict(&self, id: &str, within: Duration) -> Value {
        let deadline = Instant::now() + within;
        loop {
            let capture: Value = self
                .get(&format!("/v1/captures/{id}"))
                .await
                .unwrap()
                .json()
                .await
                .unwrap();
            let judged = capture["status"]
                .as_str()
                .is_some_and(|status| status != "queued");
            if judged && (capture["status"] != "accepted" || capture["table_version"].is_i64()) {
                return capture;
            }
            assert!(
                Instant::now() < deadline,
                "no verdict: {capture}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The data folder; its name would be another one in a URL.
    pub fn data(&self) -> PathBuf {
        data(self.folder.path())
    }

    pub fn objects(&self) -> PathBuf {
        self.data().join("objects")
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("my data, ü")
}

fn spawn(folder: &Path, port: u16, settings: &dyn Fn(&mut Command)) -> Child {
    let log = |name: &str| {
        std::fs::File::options()
            .create(true)
            .append(true)
            .open(folder.join(name))
            .unwrap()
    };
    // A write beyond a limit on file sizes, which a test may set, is to fail and not to kill.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_tintype"))
        .args(["up", "--listen", &format!("127.0.0.1:{port}"), "--data"])
        .arg(data(folder))
        .env("TINTYPE_SHARD_MAX_AGE_S", "1")
        .env("TINTYPE_LOG", "info")
        // A test asks nobody outside.
        .env("TINTYPE_FETCH_WEIGHTS", "false")
        .stdin(Stdio::null())
        .stdout(log("stdout"))
        .stderr(log("stderr"));
    settings(&mut command);
    command.spawn().unwrap()
}
