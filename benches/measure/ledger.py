"""What clients sent and were answered, on disk before they go on: the witness that
outlives every crash. One JSON object a line; read back from the file, not from memory."""

import json
import os
import threading
from collections import defaultdict


class Ledger:
    """Many threads write; a line is durable when `write` returns."""

    def __init__(self, path):
        self.path = path
        self._file, self._lock = open(path, "a", encoding="utf-8"), threading.Lock()

    def write(self, **entry):
        with self._lock:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self):
        self._file.close()


class Account:
    """A ledger, read back."""

    def __init__(self, path):
        self.tries = 0
        self.sent = set()  # hashes that any client sent at all
        self.unique = set()  # those of them that are acknowledged
        self.ids = defaultdict(set)  # hash -> ids in 2xx answers
        self.by_key = defaultdict(set)  # idempotency key -> (id, status, duplicate_of) in 2xx answers
        self.answers = defaultdict(int)
        self.copies = 0
        with open(path, encoding="utf-8") as lines:
            for entry in map(json.loads, lines):
                if entry["event"] == "try":
                    self.tries += 1
                    self.sent.add(entry["sha256"])
                    continue
                self.answers[str(entry.get("status") or entry.get("error"))] += 1
                if entry.get("status") not in (200, 202):
                    continue
                self.copies += entry["kind"] in ("copy", "again", "keyless")
                self.unique.add(entry["sha256"])
                self.ids[entry["sha256"]].add(entry["id"])
                if entry["key"]:
                    self.by_key[entry["key"]].add((entry["status"], entry["id"], entry["told"]))

    @property
    def acknowledged(self):
        """Every id that a client holds."""
        return set().union(*self.ids.values()) if self.ids else set()
