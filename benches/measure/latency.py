"""One photo alone on a system that has nothing else to do: from the first byte sent to
the answer, and to its verdict as a client that follows the events sees it."""

import http.client
import json
import shutil
import threading
import time

from . import pictures
from . import report as reports
from .server import Server

BAR_P50_S = 1.0
# What was queued by the photo before is done by then, and timers have gone idle.
PAUSE_S = 0.5
VERDICT_WITHIN_S = 60


def run(args):
    report = reports.Report("latency", args.scratch)
    folder = args.scratch / "latency"
    for name, size, bar in (("12 MP", pictures.PHONE_12MP, BAR_P50_S), ("0.5 MP", pictures.HALF_MP, None)):
        shutil.rmtree(folder, ignore_errors=True)
        made, mean = pictures.phone_set(args, f"alone-{size[0]}", args.photos, size)
        report.note(f"-- {name}: {args.photos} photos of {mean / 1e6:.2f} MB on average, one at a time")
        with Server(args.tintype, folder / "up") as server:
            one_size(report, server, name, sorted(made.rglob("*.jpg")), bar)
    return report.end()


def one_size(report, server, name, files, bar):
    server.create_dataset("alone")
    follower = Follower(server, "alone")
    answered, judged = [], []
    for file in files:
        body = file.read_bytes()
        time.sleep(PAUSE_S)
        begun = time.monotonic()
        status, _, answer = server.upload("alone", body, "alone")
        answered.append(time.monotonic() - begun)
        if status != 202:
            raise RuntimeError(f"{file.name} was answered {status}: {answer!r}")
        judged.append(follower.verdict_at(json.loads(answer)["id"]) - begun)
    captures = server.captures("alone")
    report.figure(f"{name}: photos with a verdict", sum(c["status"] != "queued" for c in captures), len(files))
    report.note(reports.verdicts(captures))
    for what, seconds in (("202", answered), ("verdict", judged)):
        p50, p95 = reports.percentile(seconds, 0.5), reports.percentile(seconds, 0.95)
        if what == "verdict" and bar:
            report.at_most(f"{name}: upload to {what}, p50, s", round(p50, 4), bar)
        else:
            report.figure(f"{name}: upload to {what}, p50, s", p50)
        report.figure(f"{name}: upload to {what}, p95, s", p95)
        report.figure(f"{name}: upload to {what}, slowest, s", max(seconds))


class Follower:
    """Reads a dataset's events on a thread of its own; notes when each capture's came."""

    def __init__(self, server, dataset):
        self.came, self.changed = {}, threading.Condition()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=VERDICT_WITHIN_S)
        headers = {"Authorization": f"Bearer {server.key}", "Accept": "text/event-stream"}
        connection.request("GET", f"/v1/datasets/{dataset}/events", headers=headers)
        self.answer = connection.getresponse()
        if self.answer.status != 200:
            raise RuntimeError(f"events answered {self.answer.status}: {self.answer.read()!r}")
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while line := self.answer.readline():
                if line.startswith(b"data:"):
                    now, capture = time.monotonic(), json.loads(line[5:])
                    with self.changed:
                        self.came.setdefault(capture["id"], now)
                        self.changed.notify_all()
        except (OSError, ValueError, http.client.HTTPException):
            pass  # the server was stopped; who still waits for an event is told by its time limit

    def verdict_at(self, id_):
        """When the verdict came; the first event of a capture is its verdict."""
        with self.changed:
            if not self.changed.wait_for(lambda: id_ in self.came, VERDICT_WITHIN_S):
                raise RuntimeError(f"no verdict on {id_} within {VERDICT_WITHIN_S} s")
            return self.came[id_]
