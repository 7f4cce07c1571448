"""Clients: each sends its next picture to some door with an idempotency key, and again,
to any door, until it is answered; one request in five is sent once more though it was
answered. Every try and answer is on disk before the client goes on."""

import hashlib
import json
import random
import threading
import time

from measure import pictures
from measure.server import Unanswered

RETRIED_SHARE = 0.2
# Small: what is tested is the way of a photo, not its decoding.
SIZE = (160, 128)
DATASETS = ("first", "second")


class Load:
    """`clients` threads that send `uploads` pictures in all; `pace` of them a second. Of `spoilt_share`
    of them a half is missing: they are acknowledged, and must be rejected."""

    def __init__(self, cluster, ledger, seed, clients, uploads, pace=None, spoilt_share=0.0):
        self.cluster, self.ledger, self.seed, self.pace = cluster, ledger, seed, pace
        self.spoilt_share = spoilt_share
        self.left, self.lock = list(range(uploads)), threading.Lock()
        self.left.reverse()
        self.stop, self.answered = threading.Event(), 0
        self.newest = None  # (id, when) of an acknowledged capture, for whoever follows one
        self.threads = [
            threading.Thread(target=self.run, args=(n,), name=f"client {n}", daemon=True) for n in range(clients)
        ]
        self.begun = time.monotonic()

    def start(self):
        self.begun = time.monotonic()
        for thread in self.threads:
            thread.start()

    def is_done(self):
        return not any(thread.is_alive() for thread in self.threads)

    def finish(self, within_s):
        """No new pictures; waits for those that are on their way. Whether all came home."""
        self.stop.set()
        until = time.monotonic() + within_s
        for thread in self.threads:
            thread.join(max(0, until - time.monotonic()))
        return self.is_done()

    def run(self, n):
        chance = random.Random(self.seed * 1000 + n)
        while not self.stop.is_set():
            with self.lock:
                if not self.left:
                    return
                number = self.left.pop()
            if self.pace:
                time.sleep(max(0, self.begun + number / self.pace - time.monotonic()))
            body = pictures.drawn(self.seed * 10_000_000 + number, *SIZE)
            is_spoilt = chance.random() < self.spoilt_share
            if is_spoilt:
                body = body[: len(body) // 2]
            entry = {"dataset": DATASETS[number % 2], "key": f"photo-{number}",
                     "sha256": hashlib.sha256(body).hexdigest(), "label": f"label-{number % 3}"} | ({"spoilt": True} if is_spoilt else {})
            self.send(chance, body, entry, "new")
            if chance.random() < RETRIED_SHARE:
                self.send(chance, body, entry, "again")

    def send(self, chance, body, entry, kind):
        while True:
            door = chance.choice(self.cluster.doors)
            self.ledger.write(event="try", kind=kind, at=time.time(), **entry)
            try:
                status, headers, answer = door.upload(
                    entry["dataset"], body, entry["label"], idempotency_key=entry["key"]
                )
            except Unanswered as error:
                self.ledger.write(event="answer", kind=kind, error=str(error).split(":")[0], at=time.time(), **entry)
                time.sleep(chance.uniform(0.02, 0.2))
                continue
            told = json.loads(answer) if answer[:1] == b"{" else {}
            self.ledger.write(event="answer", kind=kind, status=status, id=told.get("id"), told=told.get("status"),
                              code=told.get("code"), at=time.time(), **entry)
            if status in (200, 202):
                self.answered += kind == "new"
                self.newest = (told.get("id"), time.monotonic())
                return
            if status in (409, 429) or status >= 500:
                time.sleep(min(2.0, float(headers.get("Retry-After", 1))) * chance.uniform(0.5, 1.0))
                continue
            return  # a refusal that no retry mends; the oracle counts it
