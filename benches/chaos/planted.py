"""Can the oracle see? Each thing that a bug would leave behind is planted into a copy of
an honest run's data: a lost shard, a shard that was committed twice, an offset that went
backwards, a verdict that never came. The oracle must miss a bar that it met before."""

import json
import shutil
import sqlite3
import time
from contextlib import closing
from types import SimpleNamespace

from measure import report as reports

from .oracle import Account, check


def run(args, cluster, folder, names):
    """Whether every planted break was seen. `cluster` has ended."""
    honest = folder / cluster.processes[0].name
    report = reports.Report("chaos-planted", args.scratch)
    for number, plant in enumerate(PLANTS):
        place = folder / "planted"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(honest, place / "up")
        shutil.copy(folder / "ledger.jsonl", place / "ledger.jsonl")
        run_ = Run(place, names)
        plant(run_)
        begun, quiet = time.monotonic(), Quiet()
        check(quiet, SimpleNamespace(fleet=None, processes=[SimpleNamespace(folder=place / "up")]),
              Account(place / "ledger.jsonl"), names)
        said = plant.__doc__.split("\n")[0].rstrip(".")
        report.figure(f"{number + 1}. {said}", "seen" if quiet.missed else "NOT SEEN", "seen")
        report.note(f"     after {time.monotonic() - begun:.2f} s, by: {'; '.join(quiet.missed[:3])}")
    shutil.rmtree(folder / "planted", ignore_errors=True)
    report.figure("planted", len(PLANTS))
    return report.end()


class Quiet:
    """A report that only remembers which bars were missed."""

    def __init__(self):
        self.missed = []

    def figure(self, what, value, bar=None, met=None):
        if bar is not None and not (value == bar if met is None else met):
            self.missed.append(what.strip())

    def note(self, *_):
        pass

    def listing(self, *_):
        pass


class Run:
    """The copy of a run, and the ways to spoil it."""

    def __init__(self, place, names):
        self.up, self.ledger = place / "up", place / "ledger.jsonl"
        self.dataset = next(iter(names.values()))
        self.photos = self.up / "objects" / "tables" / self.dataset / "photos"

    def versions(self):
        return sorted(self.photos.glob("_delta_log/*.json"))

    def actions(self, kind):
        found = []
        for version in self.versions():
            found += [a for line in version.read_text().splitlines() if kind in (a := json.loads(line))]
        return found

    def commit(self, *actions):
        path = self.photos / "_delta_log" / f"{len(self.versions()):020}.json"
        path.write_text("".join(json.dumps(action) + "\n" for action in actions))

    def sql(self, statement):
        with closing(sqlite3.connect(self.up / "catalog.db")) as connection, connection:
            assert connection.execute(statement).rowcount > 0, f"nothing was planted by {statement}"

    def entries(self):
        return [json.loads(line) for line in self.ledger.read_text().splitlines()]

    def rewrite(self, entries):
        self.ledger.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def lost_batch(run):
    """The last batch is not in the table though it was acknowledged."""
    add = run.actions("add")[-1]["add"]
    run.commit({"remove": {"path": add["path"], "dataChange": True, "deletionTimestamp": 0}})


def blind_retry(run):
    """A commit whose answer was lost is made again with the same rows."""
    add = run.actions("add")[0]["add"]
    again = add | {"path": "again-" + add["path"]}
    shutil.copy(run.photos / add["path"], run.photos / again["path"])
    run.commit({"add": again})


def same_file_twice(run):
    """A commit names a file that an earlier one named already."""
    run.commit(run.actions("add")[0])


def late_fence(run):
    """A paused worker commits an offset that is behind."""
    txn = run.actions("txn")[-1]["txn"]
    run.commit({"txn": txn | {"version": max(0, txn["version"] - 1)}})


def dangling_original(run):
    """A row names an original that is not in the store."""
    originals = sorted((run.up / "objects" / "originals" / run.dataset).rglob("*"))
    next(path for path in originals if path.is_file()).unlink()


def ack_before_delivery(run):
    """An upload was answered 202 and its event never was on the topic."""
    told = next(e for e in run.entries() if e["event"] == "answer" and e.get("status") == 202)
    run.sql(f"UPDATE captures SET status = 'queued', decided_at_us = NULL WHERE id = '{told['id']}'")


def forgotten_capture(run):
    """The catalog does not know a capture that a client holds."""
    told = next(e for e in run.entries() if e["event"] == "answer" and e.get("status") == 202)
    run.sql(f"DELETE FROM captures WHERE id = '{told['id']}'")


def two_ids_for_a_key(run):
    """A retry with the same key was given another id."""
    entries = run.entries()
    told = next(e for e in entries if e["event"] == "answer" and e.get("status") == 202)
    run.rewrite([*entries, told | {"id": "01a00000-0000-7000-8000-000000000000"}])


def accepted_without_row(run):
    """A capture is told accepted and is not in the table: progress by maximum, not contiguous."""
    with closing(sqlite3.connect(run.up / "catalog.db")) as connection:
        columns = [column[1] for column in connection.execute("PRAGMA table_info(captures)")][1:]
    run.sql(f"INSERT INTO captures (id, {', '.join(columns)}) SELECT '01a00000-0000-7000-8000-000000000001', "
            f"{', '.join(columns)} FROM captures WHERE dataset_id = '{run.dataset}' AND status = 'accepted' LIMIT 1")


def other_bytes(run):
    """A capture stands for bytes that its client did not send."""
    run.sql(f"UPDATE captures SET sha256 = '{'0' * 64}' WHERE id = "
            f"(SELECT id FROM captures WHERE dataset_id = '{run.dataset}' LIMIT 1)")


def foreign_label(run):
    """A row has the label of another photo."""
    entries = run.entries()
    first = entries[0]["sha256"]
    run.rewrite([e | {"label": "another"} if e["sha256"] == first else e for e in entries])


def unknown_answer(run):
    """A client was answered what no client should ever see."""
    entries = run.entries()
    run.rewrite([*entries, entries[0] | {"event": "answer", "status": 422}])


PLANTS = [
    lost_batch, blind_retry, same_file_twice, late_fence, dangling_original, ack_before_delivery, forgotten_capture,
    two_ids_for_a_key, accepted_without_row, other_bytes, foreign_label, unknown_answer,
]
