"""Photos that phones write into S3 themselves: a real S3 server, Kafka and PostgreSQL
(deploy/dev), an ingest and a processor process. What the store must refuse is tried, what it
would let through is put there behind its back, and the server is killed before and while it
confirms. Each photo must be one capture in the end, byte for byte."""

import http.client
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deploy" / "dev"))

from chaos.cluster import Process
from devservers.fleet import Fleet
from devservers.process import Failed

from . import report as reports
from .pictures import drawn
from .server import Server, Unanswered

PHOTOS = 20
KILLS = 20
JSON = {"Content-Type": "application/json"}
SWEPT_WITHIN_S = 150


def run(args):
    report = reports.Report("direct", args.scratch)
    # PostgreSQL does not run as root: everybody must be able to enter its folder.
    folder = Path(tempfile.mkdtemp(prefix="tintype-direct-"))
    folder.chmod(0o755)
    fleet = Fleet(folder / "servers")
    try:
        fleet.up()
    except Failed as failure:
        report.note(f"left out: {failure}")
        return report.end()
    try:
        bench = Bench(args.tintype, folder, fleet, random.Random(args.seed))
        with bench:
            bench.run(report)
        local(report, args.tintype, folder / "up")
    finally:
        fleet.down()
    shutil.rmtree(folder, ignore_errors=True)
    return report.end()


class Bench:
    """The servers, a dataset on them, and the steps of a phone."""

    def __init__(self, binary, folder, fleet, rng):
        self.fleet, self.rng, self.number = fleet, rng, 0
        role = lambda name: Process(binary, folder / name, name, fleet.variables() | {"TINTYPE_DATA": str(folder / f"{name}-data")}, embed="false")
        self.ingest, self.processor = role("ingest"), role("processor")
        self.s3 = fleet["s3"].client()

    def __enter__(self):
        done = subprocess.run([self.ingest.binary, "init"], env=self.ingest.env, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"tintype init ended with {done.returncode}:\n{done.stderr[-2000:]}")
        key = re.search(r"tt_[A-Za-z0-9_-]+", done.stdout + done.stderr).group()
        for process in (self.ingest, self.processor):
            process.key = key
            process.start()
        self.dataset = self.ingest.create_dataset("direct", near_duplicates="group", quality="keep")["id"]
        return self

    def __exit__(self, *_):
        for process in (self.ingest, self.processor):
            if process.is_alive():
                process.stop()

    def photo(self, width=1600):
        self.number += 1
        return drawn(self.number, width, width * 3 // 4)

    def presign(self, photo):
        words = {"label": "cup", "bytes": len(photo), "sha256": sha256(photo).hexdigest()}
        status, _, body = self.ingest.request("POST", f"/v1/datasets/{self.dataset}/captures/presign", json.dumps(words), JSON)
        if status != 201:
            raise RuntimeError(f"presigning answered {status}: {body!r}")
        return json.loads(body)

    def confirm(self, signed, key=None):
        """Status and answer; a server that is being killed is asked again."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        while True:
            try:
                status, _, body = self.ingest.request("POST", signed["confirm"], b"", headers)
            except Unanswered:
                time.sleep(0.05)
                continue
            answer = json.loads(body)
            # Another confirmation has its turn or its claim.
            if status == 503 or answer.get("code") in ("request_in_progress", "upload_taken_over"):
                time.sleep(0.5)
                continue
            return status, answer

    def object(self, signed):
        """The key of the object that the client writes, in the bucket."""
        return urllib.parse.urlsplit(signed["url"]).path.split("/", 2)[2]

    def restart(self):
        self.ingest.kill()
        self.ingest.start()

    def run(self, report):
        self.plain(report)
        self.refused_by_the_store(report)
        self.behind_its_back(report)
        self.killed(report)
        self.late(report)
        self.account(report)

    def plain(self, report):
        self.sent = {}
        same, seconds, largest = 0, [], 0
        for number in range(PHOTOS):
            photo = self.photo(1600 if number % 5 else 4000)
            largest = max(largest, len(photo))
            signed = self.presign(photo)
            before = self.confirm(signed)
            put(signed, photo)
            begun = time.monotonic()
            first = self.confirm(signed)
            seconds.append(time.monotonic() - begun)
            same += before[1].get("code") == "not_uploaded" and first[0] == 202 and first == self.confirm(signed)
            self.sent[sha256(photo).hexdigest()] = photo
        report.note(f"{PHOTOS} photos, the largest of {largest / 1e6:.1f} MB")
        report.figure("409 before the PUT, 202 after it, the same again", same, PHOTOS)
        report.figure("seconds to confirm, the slowest", max(seconds))
        known = self.presign(photo)
        put(known, photo)
        report.figure("the same photo again: 200 duplicate", self.confirm(known)[1].get("status"), "duplicate")

    def refused_by_the_store(self, report):
        photo, other = self.photo(), self.photo()
        other = (other + bytes(len(photo)))[: len(photo)]
        signed = self.presign(photo)
        elsewhere = signed | {"url": signed["url"].replace("/0-0?", "/0-1?")}
        report.figure("wrong bytes of the right length: S3 answers", put(signed, other), 400)
        report.figure("too short: S3 answers", put(signed, photo[:-1], length=len(photo) - 1), 403)
        report.figure("without its checksum: S3 answers", put(signed, other, leave_out="x-amz-checksum-sha256"), 403)
        report.figure("without If-None-Match: S3 answers", put(signed, photo, leave_out="if-none-match"), 403)
        report.figure("to another object: S3 answers", put(elsewhere, photo), 403)
        report.figure("nothing of these is there: confirming answers", self.confirm(signed)[1].get("code"), "not_uploaded")
        report.figure("then the right bytes: S3 answers", put(signed, photo), 200)
        report.figure("and once more: S3 answers", put(signed, photo), 412)
        other_key = self.ingest.request("POST", "/v1/keys", json.dumps({"name": "another", "scopes": ["upload"]}), JSON)
        token = json.loads(other_key[2])["token"]
        report.figure("confirmed with another key", self.confirm(signed, token)[1].get("code"), "unknown_upload")
        report.figure("confirmed", self.confirm(signed)[0], 202)
        self.sent[sha256(photo).hexdigest()] = photo

    def behind_its_back(self, report):
        """Bytes as a store would have them that does not enforce what was signed."""
        photo, other = self.photo(), self.photo()
        other = (other + bytes(len(photo)))[: len(photo)]
        for what, bytes_there, code in [
            ("other bytes", other, "digest_mismatch"), ("too few bytes", photo[:-1], "inconsistent_upload_length"),
            ("too many bytes", photo + b"x", "inconsistent_upload_length"),
        ]:
            signed = self.presign(photo)
            self.s3.put(self.object(signed), bytes_there)
            answers = [self.confirm(signed) for _ in range(2)]
            gone = waited(lambda: self.s3.head(self.object(signed)) == 404)
            met = answers[0] == answers[1] and answers[0][0] == 400 and gone
            report.figure(f"{what} in the store: 400, again 400, and removed", answers[0][1].get("code"), code, answers[0][1].get("code") == code and met)
        text = b"no picture" * 1000
        signed = self.presign(text)
        put(signed, text)
        report.figure("no picture", self.confirm(signed)[1].get("code"), "not_an_image")

    def killed(self, report):
        rounds = {"between PUT and confirmation": 0, "while it confirms": 0}
        for _ in range(KILLS):
            photo = self.photo()
            signed = self.presign(photo)
            put(signed, photo)
            self.restart()
            rounds["between PUT and confirmation"] += self.confirm(signed)[0] == 202
            self.sent[sha256(photo).hexdigest()] = photo
        for _ in range(KILLS):
            photo = self.photo()
            signed = self.presign(photo)
            put(signed, photo)
            asking = threading.Thread(target=self.confirm, args=(signed,))
            asking.start()
            time.sleep(self.rng.uniform(0, 0.06))
            self.restart()
            asking.join()
            answers = [self.confirm(signed) for _ in range(2)]
            rounds["while it confirms"] += answers[0] == answers[1] and answers[0][0] == 202
            self.sent[sha256(photo).hexdigest()] = photo
        for when, good in rounds.items():
            report.figure(f"kill -9 {when}: 202 in the end", good, KILLS)

    def late(self, report):
        photo = self.photo()
        signed = self.presign(photo)
        put(signed, photo)
        self.expire(f"WHERE id = '{signed['id']}'")
        report.figure("never confirmed: after its time", self.confirm(signed)[1].get("code"), "upload_expired")

    def account(self, report):
        self.ingest.settle(self.dataset)
        captures = [c for c in self.ingest.captures(self.dataset) if c["status"] == "accepted"]
        report.figure("photos that are one accepted capture", sorted(c["sha256"] for c in captures) == sorted(self.sent), True)
        stored = self.s3.list(f"originals/{self.dataset}/")
        whole = sum(self.s3.get(key)[1] == self.sent.get(key.rsplit("/", 1)[1]) for key in stored)
        report.figure("originals, byte for byte", whole, len(self.sent), whole == len(stored) == len(self.sent))
        # What a kill leaves goes with its upload, a day after.
        report.figure("objects under uploads/ before the sweep", len(self.s3.list("uploads/")))
        self.expire()
        waited(lambda: not self.s3.list("uploads/"), SWEPT_WITHIN_S)
        report.figure("and after it", len(self.s3.list("uploads/")), 0)

    def expire(self, which=""):
        sql = f"UPDATE uploads SET expires_at_us = 0 {which}"
        subprocess.run([self.fleet["postgres"].bin / "psql", self.fleet["postgres"].url, "-qc", sql], check=True)


def local(report, binary, folder):
    """On a folder there is nobody to sign for."""
    with Server(binary, folder, embed="false") as server:
        dataset = server.create_dataset("local")["id"]
        words = {"label": "cup", "bytes": 3, "sha256": sha256(b"abc").hexdigest()}
        status, _, body = server.request("POST", f"/v1/datasets/{dataset}/captures/presign", json.dumps(words), JSON)
        report.figure("on a local folder", f"{status} {json.loads(body)['code']}", "409 no_direct_uploads")


def put(signed, body, leave_out=None, length=None):
    """Status of the signed request, made without any key of Tintype's."""
    url = urllib.parse.urlsplit(signed["url"])
    headers = {name: value for name, value in signed["headers"].items() if name != leave_out}
    if length is not None:
        headers["content-length"] = str(length)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    try:
        connection.request(signed["method"], f"{url.path}?{url.query}", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def waited(is_so, within_s=10):
    begun = time.monotonic()
    while not is_so():
        if time.monotonic() - begun > within_s:
            return False
        time.sleep(0.1)
    return True
