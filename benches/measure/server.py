"""A `tintype up` of our own: started, asked over HTTP, killed or stopped, and
weighed through /proc. The binary is the only thing of Tintype that is used."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

READY_WITHIN_S = 60
STOP_WITHIN_S = 15
REQUEST_TIMEOUT_S = 60


class Unanswered(Exception):
    """A request that got no HTTP answer: refused, cut off or timed out."""


class Server:
    """One data folder and the process that serves it; `start` may be called again."""

    def __init__(self, binary, folder, log="warn", **settings):
        self.binary, self.folder = Path(binary), Path(folder)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("TINTYPE_")}
        self.env["TINTYPE_LOG"] = log
        self.env |= {f"TINTYPE_{k.upper()}": str(v) for k, v in settings.items()}
        self.key = self.process = None
        self.starts = 0
        self.peak_bytes = 0
        self._local = threading.local()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def out(self):
        return Path(f"{self.folder}.out")

    @property
    def err(self):
        return Path(f"{self.folder}.err")

    def command(self):
        """The words that start it."""
        return [self.binary, "up", "--data", self.folder, "--listen", f"127.0.0.1:{self.port}"]

    def start(self, wait=True):
        """Starts the process and waits until it says that an upload would succeed."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with open(self.out, "ab") as out, open(self.err, "ab") as err:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=self.env,
                start_new_session=True,
            )
        self.starts += 1
        return self.wait_ready() if wait else None

    def wait_ready(self):
        """Seconds until /readyz said 200; raises if the process ended instead."""
        begun = time.monotonic()
        while time.monotonic() - begun < READY_WITHIN_S:
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"{self.folder.name} ended with {self.process.returncode} instead of serving:\n"
                    + self.err.read_text(errors="replace")[-2000:]
                )
            try:
                if self.request("GET", "/readyz", timeout=5)[0] == 200:
                    if self.key is None:
                        self.key = re.search(r"tt_[A-Za-z0-9_-]+", self.out.read_text()).group()
                    return time.monotonic() - begun
            except Unanswered:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"{self.folder.name} was not ready within {READY_WITHIN_S} s; see {self.err}")

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, as the kernel's out-of-memory killer does it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Ctrl-C; the exit code and the seconds that it took."""
        self.note_memory()
        begun = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            code = None
        return code, time.monotonic() - begun

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.is_alive():
            self.stop()

    # -- the command line ------------------------------------------------------------

    def cli(self, *args, codes=(0,)):
        """Runs a client command with --json and gives the object that it printed."""
        env = self.env | {"TINTYPE_URL": self.url, "TINTYPE_KEY": self.key}
        done = subprocess.run(
            [self.binary, *map(str, args), "--json"], env=env, capture_output=True, text=True
        )
        if done.returncode not in codes:
            raise RuntimeError(f"tintype {args[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def import_folder(self, folder, dataset, *more, codes=(0,), journal=None):
        journal = journal or self.folder.parent / f"{self.folder.name}-{dataset}.journal"
        return self.cli(
            "import", folder, "--dataset", dataset, "--journal", journal, *more, codes=codes
        )

    # -- HTTP ------------------------------------------------------------------------

    def request(self, method, path, body=None, headers=None, timeout=REQUEST_TIMEOUT_S):
        """Status, headers and body of the answer, on this thread's kept connection."""
        connection = getattr(self._local, "connection", None)
        fresh = connection is None
        if fresh:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            self._local.connection = connection
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        headers = dict(headers or {})
        if self.key is not None:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        try:
            try:
                connection.request(method, path, body, headers)
            except (BrokenPipeError, ConnectionResetError):
                # A body that is too large is answered before it is read to its end.
                if connection.sock is None:
                    raise
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._local.connection = None
            # A server may close a kept connection at any time between two requests.
            stale = isinstance(error, (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError))
            if not fresh and stale:
                return self.request(method, path, body, headers, timeout)
            raise Unanswered(f"{type(error).__name__}: {error}") from error
        if answer.will_close:
            connection.close()
            self._local.connection = None
        return answer.status, answer.headers, data

    def get(self, path):
        status, _, body = self.request("GET", path)
        if status != 200:
            raise RuntimeError(f"GET {path} answered {status}: {body[:500]!r}")
        return json.loads(body)

    def upload(self, dataset, body, label, **headers):
        """Posts a photo; `idempotency_key=` and the like become headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["X-Label"] = urllib.parse.quote(label)
        return self.request("POST", f"/v1/datasets/{dataset}/captures", body, named)

    def create_dataset(self, name, **policy):
        body = json.dumps({"name": name, "policy": policy})
        status, _, answer = self.request(
            "POST", "/v1/datasets", body, {"Content-Type": "application/json"}
        )
        if status not in (200, 201):
            raise RuntimeError(f"creating dataset {name} answered {status}: {answer!r}")
        return json.loads(answer)

    def events(self, dataset):
        """The dataset's whole history as server-sent events, until a second of silence."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        headers = {"Authorization": f"Bearer {self.key}", "Last-Event-ID": "0"}
        connection.request("GET", f"/v1/datasets/{dataset}/events", headers=headers)
        answer, data = connection.getresponse(), b""
        try:
            while chunk := answer.read1(1 << 16):
                data += chunk
        except TimeoutError:
            pass
        connection.close()
        return data

    def captures(self, dataset):
        """All captures of a dataset, by paging."""
        after, found = "", []
        while True:
            page = self.get(f"/v1/datasets/{dataset}/captures?limit=1000{after}")
            found += page["captures"]
            if not page.get("next"):
                return found
            after = "&after=" + page["next"]

    def settle(self, dataset, within_s=600, shards=True):
        """Waits until every capture has its verdict (and its shard); gives the stats.
        The time limit starts anew whenever something moves."""
        last, moved = None, time.monotonic()
        while True:
            stats = self.get(f"/v1/datasets/{dataset}/stats")
            queued = stats["statuses"].get("queued", 0)
            if queued == 0 and (not shards or stats["awaiting_shard"] == 0):
                return stats
            if stats != last:
                last, moved = stats, time.monotonic()
            if time.monotonic() - moved > within_s:
                raise RuntimeError(f"dataset {dataset} does not settle: {stats}")
            time.sleep(0.2)

    # -- scales ----------------------------------------------------------------------

    def metrics(self):
        """Every sample of /metrics: `name{labels}` to number."""
        text = self.request("GET", "/metrics")[2].decode()
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, value in lines}

    def memory(self, field):
        """Bytes of a field of /proc/PID/status: VmRSS or VmHWM."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", status).group(1)) * 1024

    def note_memory(self):
        """The most memory that any of our processes on this folder ever had."""
        if self.is_alive():
            self.peak_bytes = max(self.peak_bytes, self.memory("VmHWM"))
        return self.peak_bytes

    def cpu_seconds(self):
        """User and system time of the process so far."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def table(self, dataset_id, name="photos"):
        return self.folder / "objects" / "tables" / dataset_id / name
