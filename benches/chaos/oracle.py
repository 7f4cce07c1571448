"""What must hold at the end, asked of witnesses that share no code with Tintype: the
ledger of the clients, the catalog by psql (or sqlite3 where it is a file), and the tables
by Python's `deltalake`, their log read line by line."""

import json
import os
import sqlite3
import urllib.parse
from collections import Counter, defaultdict
from contextlib import closing

import deltalake
import duckdb
from measure import report as reports

# What a client may see while processes and servers die: nothing else.
ALLOWED = {"200", "202", "409", "429", "500", "502", "503", "504", "ConnectionRefusedError", "RemoteDisconnected",
           "ConnectionResetError", "BrokenPipeError", "IncompleteRead", "CannotSendRequest", "BadStatusLine",
           "TimeoutError", "timeout"}


class Account:
    """The ledger, read back from the disk."""

    def __init__(self, path):
        self.tries = self.again = 0
        self.answers, self.labels = Counter(), {}
        self.sent, self.first_try, self.ack_s, self.spoilt = set(), {}, [], set()
        self.ids, self.by_key = defaultdict(set), defaultdict(set)  # (dataset, sha256), (dataset, key) -> ids
        with open(path, encoding="utf-8") as lines:
            for entry in map(json.loads, lines):
                what = (entry["dataset"], entry["sha256"])
                if entry.get("spoilt"):
                    self.spoilt.add(what)
                if entry["event"] == "try":
                    self.tries += 1
                    self.again += entry["kind"] == "again"
                    self.sent.add(what)
                    self.first_try.setdefault(what, entry["at"])
                    self.labels[what] = entry["label"]
                    continue
                self.answers[str(entry.get("status") or entry.get("error"))] += 1
                if entry.get("status") in (200, 202):
                    if what not in self.ids:
                        self.ack_s.append(entry["at"] - self.first_try[what])
                    self.ids[what].add(entry["id"])
                    self.by_key[(entry["dataset"], entry["key"])].add(entry["id"])


def check(report, cluster, account, names):
    """`names`: dataset name -> id. Adds figures with bars to the report."""
    report.note(f"{account.tries} tries, {account.again} of them of requests that had been answered")
    report.note("answers: " + ", ".join(f"{n} x {what}" for what, n in sorted(account.answers.items())))
    report.figure("kinds of answers that no client should see", sorted(set(account.answers) - ALLOWED), [])
    report.figure("keys that were answered with different ids", sum(len(i) > 1 for i in account.by_key.values()), 0)
    total_rows = 0
    for name, dataset in names.items():
        total_rows += check_dataset(report, cluster, account, name, dataset)
    report.figure("rows in all photos tables", total_rows)
    report.figure("time from the first try to the answer, s, p50", reports.percentile(account.ack_s, 0.5))
    report.figure("  p99", reports.percentile(account.ack_s, 0.99))
    report.figure("  longest", max(account.ack_s))


def check_dataset(report, cluster, account, name, dataset):
    captures = {c["id"]: c for c in catalog_rows(cluster, name, dataset)}
    mine = {sha: ids for (of, sha), ids in account.ids.items() if of == name}
    spoilt = {sha: mine.pop(sha) for of, sha in account.spoilt if of == name and sha in mine}
    acknowledged = set().union(*mine.values(), *spoilt.values())
    report.note(f"-- {name}: {reports.verdicts(captures.values())}")
    report.figure("acknowledged pictures", len(mine))
    report.figure("acknowledged captures the catalog does not know", len(acknowledged - set(captures)), 0)
    report.figure("  without a verdict", sum(c["status"] == "queued" for c in captures.values()), 0)
    report.figure("  that stand for other bytes",
                  sum(captures[i]["sha256"] != sha for sha, ids in mine.items() for i in ids if i in captures), 0)
    report.figure("spoilt pictures that were not rejected", sum(captures.get(i, {}).get("status") != "rejected"
                                                                for ids in spoilt.values() for i in ids), 0)
    report.figure("captures of bytes that nobody sent", sum((name, c["sha256"]) not in account.sent for c in captures.values()), 0)
    tables = Tables(cluster, dataset)
    rows, rejected = tables.rows("photos"), tables.rows("rejections")
    shas, ids = Counter(r["sha256"] for r in rows), Counter(r["id"] for r in rows)
    lost = [sha for sha in mine if not shas[sha]]
    report.figure("pictures without a row (lost)", len(lost), 0)
    report.listing("lost", (f"{sha} {sorted(mine[sha])} {[brief(captures.get(i)) for i in mine[sha]]}" for sha in lost))
    report.figure("pictures with two rows (duplicated)", sum(n > 1 for n in shas.values()), 0)
    report.figure("ids with two rows", sum(n > 1 for n in ids.values()), 0)
    accepted = {i for i, c in captures.items() if c["status"] == "accepted"}
    report.figure("accepted captures without a row, or rows without", len(accepted ^ set(ids)), 0)
    stored = Counter(r["id"] for r in rejected)
    declined = {i for i, c in captures.items() if c["status"] == "rejected"}
    report.figure("rejected captures without a row, or with two", sum(stored[i] != 1 for i in declined), 0)
    twice = set(ids) & set(stored)
    report.figure("captures with two verdicts in the tables", len(twice), 0)
    places = Counter((r["partition"], r["offset"]) for r in rows + rejected)
    report.figure("places in Kafka that are there twice", sum(n > 1 for n in places.values()), 0)
    wrong = [r["id"] for r in rows if account.labels.get((name, r["sha256"])) != r["label"]]
    report.figure("rows with another label than was sent", len(wrong), 0)
    objects = tables.objects()
    dangling = [r["key"] for r in rows if r["key"] not in objects]
    report.figure("originals that rows name and that are not there", len(dangling), 0)
    for table in ("photos", "rejections"):
        log = tables.log(table)
        # Listed after the log is read: maintenance may put a new file into it at any time, and removes none that it names.
        stored = tables.objects()
        gone = [path for path in log.live if path not in stored]
        report.figure(f"{table}: versions", log.versions)
        report.figure(f"{table}: files that the log names and that are not there", len(gone), 0)
        report.figure(f"{table}: files that were added twice", sum(n > 1 for n in log.added.values()), 0)
        report.figure(f"{table}: commits whose progress went backwards", log.backwards, 0)
    return len(rows)


def brief(capture):
    return capture and f"{capture['status']}/{capture.get('reason')} twin {capture.get('twin_id')}"


def catalog_rows(cluster, name, dataset):
    """All captures of a dataset, by SQL that is not Tintype's."""
    fields = ("id", "status", "sha256", "reason", "twin_id", "received_at_us", "decided_at_us")
    sql = f"SELECT {', '.join(fields)} FROM captures WHERE dataset_id = '{dataset}'"
    if cluster.fleet:
        found = cluster.fleet["postgres"].query(sql)
    else:
        file = cluster.processes[0].folder / "catalog.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            found = connection.execute(sql).fetchall()
    return [{field: value or None for field, value in zip(fields, row)} for row in found]


def verdict_times(cluster, name, dataset):
    """Arrival and verdict, in seconds, of each capture."""
    rows = catalog_rows(cluster, name, dataset)
    return [(int(r["received_at_us"]) / 1e6, int(r["decided_at_us"]) / 1e6) for r in rows if r["decided_at_us"]]


class Tables:
    """A dataset's two tables on the S3 server, or in the folder of `up`."""

    def __init__(self, cluster, dataset):
        self.cluster, self.dataset = cluster, dataset
        self.folder = None if cluster.fleet else cluster.processes[0].folder / "objects"
        self.store = cluster.fleet["s3"].client() if cluster.fleet else None

    def rows(self, table):
        """id, label, status, hash, original's key and place in Kafka of each row."""
        place = f"tables/{self.dataset}/{table}"
        if self.store:
            variables = self.cluster.fleet.variables()
            options = {k: v for k, v in variables.items() if k.startswith("AWS_")}
            if not self.store.list(f"{place}/_delta_log/"):
                return []
            delta = deltalake.DeltaTable(f"{variables['TINTYPE_OBJECTS']}/{place}", storage_options=options)
        elif (self.folder / place / "_delta_log").is_dir():
            delta = deltalake.DeltaTable(str(self.folder / place))
        else:
            return []
        columns = ["id", "label", "original", "kafka"]
        read = delta.to_pyarrow_table(columns=columns)
        with duckdb.connect() as connection:
            connection.register("t", read)
            sql = ("SELECT id, label, original.sha256 AS sha256, original.key AS key, "
                   'kafka."partition" AS "partition", kafka."offset" AS "offset" FROM t')
            return connection.sql(sql).to_arrow_table().to_pylist()

    def objects(self):
        """Keys of everything in the store."""
        if self.store:
            return set(self.store.list())
        return {os.path.relpath(os.path.join(at, f), self.folder) for at, _, files in os.walk(self.folder) for f in files}

    def log(self, table):
        return Log(self, f"tables/{self.dataset}/{table}")

    def read(self, key):
        return self.store.get(key)[1] if self.store else (self.folder / key).read_bytes()


class Log:
    """A table's Delta log, every version: what it names, and whether each producer's
    progress (`txn`) only ever grew."""

    def __init__(self, tables, place):
        self.added, self.live, self.backwards, self.versions = Counter(), set(), 0, 0
        newest = {}
        keys = sorted(k for k in tables.objects() if k.startswith(f"{place}/_delta_log/") and k.endswith(".json"))
        for key in keys:
            self.versions += 1
            for line in tables.read(key).splitlines():
                action = json.loads(line)
                if "add" in action:
                    path = f"{place}/{urllib.parse.unquote(action['add']['path'])}"
                    self.added[path] += 1
                    self.live.add(path)
                elif "remove" in action:
                    self.live.discard(f"{place}/{urllib.parse.unquote(action['remove']['path'])}")
                elif "txn" in action:
                    app, version = action["txn"]["appId"], action["txn"]["version"]
                    self.backwards += version <= newest.get(app, -1)
                    newest[app] = max(version, newest.get(app, -1))
