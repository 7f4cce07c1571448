"""Uploads over a bad network: each is cut 1 to 8 times (connections reset, closed half,
left hanging; wrong offsets; the same bytes twice; the server killed with SIGKILL), goes on
where the server says, and must end stored byte for byte, once. Counts the bytes that had
to be sent again, and answers 2xx for anything but the whole photo."""

import hashlib
import json
import random
import shutil
import socket
import struct
import threading
import time
from collections import Counter

from . import report as reports
from .server import Server, Unanswered

CLIENTS = 6
LARGEST_BYTES = 20_000_000
# What the kernel may hold of a connection that is cut: it counts as sent, and is lost.
SOCKET_BYTES = 256 << 10
# What the server may hold of a request that is running.
SERVER_BYTES = 4 << 20
PIECE_BYTES = 64 << 10
KINDS = ["reset", "half-close", "stall", "wrong offset", "duplicate"]
KILL_EVERY_S = 6.0
# Uploads that lie on the disk at a time, 2 GB; each batch is a dataset of its own.
BATCH = 1_000


def run(args):
    report = reports.Report("cuts", args.scratch)
    folder = args.scratch / "cuts"
    shutil.rmtree(folder, ignore_errors=True)
    server = Server(args.tintype, folder / "up")
    server.start()
    begun, done, errors, cuts, kills, found = time.monotonic(), [], [], Counter(), 0, Counter()
    for first in range(0, args.uploads, BATCH):
        if time.monotonic() - begun > args.minutes * 60:
            report.note(f"the time of {args.minutes} minutes is over")
            break
        dataset = server.create_dataset(f"cuts-{first}")["id"]
        plan = iter(range(first, min(first + BATCH, args.uploads)))
        clients = [Client(server, dataset, plan, args.seed) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        kills += kill_while(server, clients)
        for client in clients:
            client.join()
        batch = [upload for client in clients for upload in client.done]
        cuts += sum((client.cuts for client in clients), Counter())
        errors += [error for client in clients for error in client.errors]
        found += check(server, dataset, batch)
        done += batch
        report.note(f"{len(done)} uploads after {time.monotonic() - begun:.0f} s, {len(errors)} without an end")
        # Some 2 GB a batch, and everything about them is known by now.
        shutil.rmtree(server.folder / "objects" / "originals" / dataset, ignore_errors=True)
    seconds = time.monotonic() - begun

    sizes = sum(upload["size"] for upload in done)
    sent = sum(upload["sent"] for upload in done)
    again = sent - sizes
    report.note(f"{len(done)} uploads, {sizes / 1e6:.0f} MB, seed {args.seed}, {seconds:.0f} s, {kills} kills")
    report.note("cuts: " + ", ".join(f"{count} {kind}" for kind, count in sorted(cuts.items())))
    report.listing("uploads that did not come to an end", errors)
    report.figure("uploads that came to an end", len(done), len(done) + len(errors))
    num_cuts = sum(upload["cuts"] for upload in done)
    report.figure("bytes sent again, % of all", 100 * again / max(sizes, 1))
    report.at_most("bytes sent again beyond 5 %, MB for each cut", max(again - sizes * 0.05, 0) / max(num_cuts + kills, 1) / 1e6,
                   (SERVER_BYTES + SOCKET_BYTES) / 1e6)
    stored = [upload for upload in done if upload["size"] > 0]
    empty = [upload for upload in done if upload["size"] == 0]
    report.figure("2xx for a photo that is not stored byte for byte", found["truncated"], 0)
    report.figure("photos answered 2xx", sum(u["status"] in (200, 202) for u in stored), len(stored))
    report.figure("empty files, refused with 415", sum(u["status"] == 415 for u in empty), len(empty))
    report.figure("originals in the store", found["originals"], len({u["sha256"] for u in stored}))
    report.figure("captures", found["captures"], len({u["capture"] for u in stored}))
    report.figure("captures told twice", found["twice"], 0)
    report.figure("parts left of complete uploads", found["parts left"])
    report.figure("peak memory, MiB", server.note_memory() / 2**20)
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)
    return report.end()


def kill_while(server, clients):
    kills = 0
    while any(client.is_alive() for client in clients):
        time.sleep(KILL_EVERY_S)
        if any(client.is_alive() for client in clients):
            server.note_memory()
            server.kill()
            server.start()
            kills += 1
    return kills


def check(server, dataset, done):
    """Every photo lies under its hash with its very bytes, and is one capture."""
    found = Counter()
    originals = server.folder / "objects" / "originals" / dataset
    for upload in done:
        if upload["size"] > 0:
            path = originals / upload["sha256"][:2] / upload["sha256"]
            whole = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == upload["sha256"]
            found["truncated"] += upload["status"] in (200, 202) and not whole
    found["originals"] = sum(1 for path in originals.rglob("*") if path.is_file())
    server.settle(dataset)
    captures = Counter(capture["id"] for capture in server.captures(dataset))
    found["captures"] = len(captures)
    found["twice"] = sum(count > 1 for count in captures.values())
    found["parts left"] = sum(1 for path in (server.folder / "objects" / "uploads").rglob("*") if path.is_file())
    return found


class Client(threading.Thread):
    """A phone: takes the next upload of the plan until there is none."""

    def __init__(self, server, dataset, plan, seed):
        super().__init__()
        self.server, self.dataset, self.plan, self.seed = server, dataset, plan, seed
        self.done, self.errors, self.cuts = [], [], Counter()
        self.hanging = []

    lock = threading.Lock()

    def run(self):
        while True:
            with Client.lock:
                number = next(self.plan, None)
            if number is None:
                return
            try:
                self.done.append(self.upload(number))
            except Exception as error:  # told in the report
                self.errors.append(f"{number}: {type(error).__name__}: {error}")

    def upload(self, number):
        rng = random.Random(self.seed * 1_000_003 + number)
        size = 0 if number % 50 == 0 else min(LARGEST_BYTES, int(10 ** rng.uniform(2, 7.31)))
        photo = (b"\xff\xd8\xff\xe0" + rng.randbytes(size))[:size]
        sha256 = hashlib.sha256(photo).hexdigest()
        num_cuts = rng.randint(1, 8)
        self.sent = 0
        location = self.create(size)
        cuts = 0
        while cuts < num_cuts and size > 0:
            offset, is_complete = self.offset(location)
            if is_complete:
                break
            kind = rng.choice(KINDS)
            until = min(size, offset + max(1, int((size - offset) * rng.uniform(0.05, 0.6))))
            self.cut(kind, location, photo, offset, until, rng)
            self.cuts[kind] += 1
            cuts += 1
        status, headers = self.finish(location, photo)
        for hanging in self.hanging:
            hanging.close()
        self.hanging.clear()
        return {"number": number, "size": size, "sha256": sha256, "cuts": cuts, "sent": self.sent,
                "status": status, "capture": headers.get("X-Capture-Id")}

    def create(self, size):
        headers = {"Upload-Complete": "?0", "Upload-Length": str(size), "X-Label": "cut"}
        while True:
            status, answer, body = self.ask("POST", f"/v1/datasets/{self.dataset}/captures", b"", headers)
            if status == 201:
                return answer["Location"]
            if status not in (429, 503):
                raise RuntimeError(f"creation answered {status}: {body[:300]!r}")
            time.sleep(0.2)

    def offset(self, location):
        while True:
            status, headers, _ = self.ask("HEAD", location)
            if status == 204:
                return int(headers["Upload-Offset"]), headers["Upload-Complete"] == "?1"
            if status not in (409, 429, 503):
                raise RuntimeError(f"HEAD answered {status}")
            time.sleep(0.05)

    def finish(self, location, photo):
        while True:
            offset, is_complete = self.offset(location)
            rest = b"" if is_complete else photo[offset:]
            headers = self.patch_headers(offset, True)
            try:
                status, answer, body = self.server.request("PATCH", location, rest, headers)
            except Unanswered:
                self.sent += len(rest)
                time.sleep(0.1)
                continue
            self.sent += len(rest)
            if answer.get("Upload-Complete") == "?1":
                return status, answer
            if status not in (409, 503):
                raise RuntimeError(f"PATCH answered {status}: {body[:300]!r}")
            time.sleep(0.05)

    def cut(self, kind, location, photo, offset, until, rng):
        if kind == "wrong offset":
            wrong = offset + rng.choice([-1, 1, 17])
            # Beyond the end it is the length that is wrong.
            if 0 <= wrong < len(photo):
                status, headers, body = self.ask("PATCH", location, photo[wrong:wrong + 1], self.patch_headers(wrong, False))
                # A request that was cut may still arrive, and move the right offset on; even to this one.
                right = int(headers.get("Upload-Offset", offset))
                self.sent += status == 204
                if not (status == 409 and right >= offset and right != wrong or status == 204 and right == wrong + 1 > offset + 1):
                    raise RuntimeError(f"wrong offset answered {status} {dict(headers)} {body[:200]!r}")
            return
        if kind == "duplicate":
            piece = photo[offset:until]
            for attempt in range(2):
                try:
                    status, _, body = self.server.request("PATCH", location, piece, self.patch_headers(offset, False))
                except Unanswered:
                    self.sent += len(piece)
                    time.sleep(0.1)
                    return
                # The second is a fault of the client's and meant to be sent again.
                self.sent += len(piece) if attempt == 0 else 0
                if status not in (204, 409, 503):
                    raise RuntimeError(f"duplicate {attempt} answered {status}: {body[:300]!r}")
            return
        # Announces everything that is left, and sends a part of it.
        try:
            connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=20)
        except OSError:
            time.sleep(0.1)
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES // 2)
        headers = self.patch_headers(offset, True) | {
            "Host": "test", "Authorization": f"Bearer {self.server.key}", "Content-Length": str(len(photo) - offset),
        }
        head = f"PATCH {location} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        try:
            connection.sendall(head.encode())
            at = offset
            while at < until:
                piece = photo[at:min(at + PIECE_BYTES, until)]
                connection.sendall(piece)
                self.sent += len(piece)
                at += len(piece)
            if kind == "reset":
                # What the kernel has not passed on is lost, as it is on a phone.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            elif kind == "half-close":
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(1 << 16)
                if answer and b" 2" in answer.split(b"\r\n")[0][8:10]:
                    raise RuntimeError(f"a body cut short was answered {answer[:200]!r}")
                connection.close()
            else:
                self.hanging.append(connection)
        except OSError:
            connection.close()

    def ask(self, method, path, body=None, headers=None):
        while True:
            try:
                return self.server.request(method, path, body, headers)
            except Unanswered:
                time.sleep(0.1)

    def patch_headers(self, offset, is_last):
        return {"Content-Type": "application/partial-upload", "Upload-Offset": str(offset),
                "Upload-Complete": "?1" if is_last else "?0"}
