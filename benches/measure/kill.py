"""kill -9 of the whole process at random instants while clients upload and `import`
runs, all of them with retries; started again each time. Afterwards every acknowledged
capture has one verdict and at most one row, and every unique picture is one row."""

import hashlib
import json
import random
import shutil
import threading
import time
from collections import Counter, defaultdict

from . import pictures, tables
from . import report as reports
from .ledger import Account, Ledger
from .server import Server, Unanswered

CLIENTS = 6
# From the start of the process to its end; ...
MAX_LIFE_S = 4.0
# ... one in five dies this early, mostly before it is ready.
MAX_SHORT_LIFE_S = 0.5
CHUNK = 60


def run(args):
    report = reports.Report("kill", args.scratch)
    report.note(f"{args.rounds} rounds, seed {args.seed}")
    folder = args.scratch / "kill"
    shutil.rmtree(folder, ignore_errors=True)
    server = Server(args.tintype, folder / "up")
    server.start()
    # Made pictures are not sharp as photos are; everything else is judged as by default.
    names = {name: server.create_dataset(name, quality="keep")["id"] for name in ("posted", "imported")}
    ledger, stop = Ledger(folder / "ledger.jsonl"), threading.Event()
    clients = [Client(server, ledger, stop, args.seed, n) for n in range(CLIENTS)]
    importer = Importer(server, stop, args.seed, folder / "chunks")
    for thread in (*clients, importer):
        thread.start()
    lives, readies, early = kill_again_and_again(server, args)
    report.figure("rounds", len(lives), args.rounds)
    report.note(f"lives of {min(lives):.2f} to {max(lives):.2f} s; {early} killed before they were ready")
    report.figure("start to ready after a kill, s, p50", reports.percentile(readies, 0.5))
    report.figure("start to ready after a kill, s, slowest", max(readies))
    stop.set()
    for thread in (*clients, importer):
        thread.join(300)
        report.figure(f"{thread.name} came to its end", not thread.is_alive(), True)
    ledger.close()

    for name in names:
        server.settle(name)
    rows = {name: len(tables.rows(server.table(id_))) for name, id_ in names.items()}
    server.kill()
    server.start()
    for name, id_ in names.items():
        server.settle(name)
        report.figure(f"{name}: rows after one more kill and start", len(tables.rows(server.table(id_))), rows[name])
    check_posted(report, server, Account(folder / "ledger.jsonl"), names["posted"])
    check_imported(report, server, importer, names["imported"])
    report.figure("peak memory, MiB", server.note_memory() / 2**20)
    report.figure("exit code after Ctrl-C", server.stop()[0], 0)
    return report.end()


def kill_again_and_again(server, args):
    """Seconds of each life, seconds to readiness of those that came so far, and how many
    did not. The process may end only by our hand."""
    chance = random.Random(args.seed)
    lives, readies, early = [], [], 0
    for n in range(args.rounds):
        life = chance.uniform(0, MAX_SHORT_LIFE_S if chance.random() < 0.2 else MAX_LIFE_S)
        # Shards by the handful and shards that wait: kills strike in commits and between.
        server.env["TINTYPE_SHARD_MAX_AGE_S"] = str(chance.choice([1, 1, 15]))
        server.env["TINTYPE_SHARD_MAX_ROWS"] = str(chance.choice([8, 4096]))
        if n:
            server.start(wait=False)
        begun, is_ready = time.monotonic(), False
        while (left := begun + life - time.monotonic()) > 0:
            if not server.is_alive():
                raise RuntimeError(f"tintype up ended by itself in round {n}:\n{server.err.read_text()[-3000:]}")
            if not is_ready:
                try:
                    # Not beyond this life: a start that has only begun to listen keeps one waiting.
                    is_ready = server.request("GET", "/readyz", timeout=left)[0] == 200
                except Unanswered:
                    pass
                if is_ready:
                    readies.append(time.monotonic() - begun)
            time.sleep(min(0.01, left))
        server.note_memory()
        server.kill()
        lives.append(life)
        early += not is_ready
        if (n + 1) % 10 == 0:
            print(f"  ... {n + 1} rounds", flush=True)
    server.start()
    return lives, readies, early


class Client(threading.Thread):
    """Uploads new pictures, pictures that another client is just sending, copies of
    acknowledged ones and retries of acknowledged requests; sends each again with the
    same key until it is answered."""

    latest = {}  # what each client sent last, shared by all

    def __init__(self, server, ledger, stop, seed, n):
        super().__init__(name=f"client {n}", daemon=True)
        self.server, self.ledger, self.stop = server, ledger, stop
        self.chance, self.first, self.made = random.Random(seed * 100 + n), (seed * 100 + n) * 1_000_000, 0
        self.acknowledged = []

    def run(self):
        while not self.stop.is_set():
            kinds = ["new", "race", "copy", "again", "keyless"]
            kind = self.chance.choices(kinds, [6, 2, 2, 2, 1])[0]
            if kind in ("new", "race") or not self.acknowledged:
                number, key = self.first + self.made, f"{self.name.replace(' ', '-')}-{self.made}"
                self.made += 1
                kind = kind if kind == "race" else "new"
                if kind == "race":
                    number = self.chance.choice([*self.latest.values(), number])
                self.latest[self.name] = number
            else:
                number, key = self.chance.choice(self.acknowledged[-30:])
                key = {"copy": f"{key}-copy-{time.monotonic_ns()}", "again": key, "keyless": ""}[kind]
            self.send(kind, number, key)
            time.sleep(self.chance.uniform(0, 0.02))

    def send(self, kind, number, key):
        body = pictures.drawn(number)
        entry = {"kind": kind, "key": key, "sha256": hashlib.sha256(body).hexdigest()}
        headers = {"idempotency_key": key} if key else {}
        while True:
            self.ledger.write(event="try", **entry)
            try:
                status, answered, answer = self.server.upload("posted", body, f"label-{number % 3}", **headers)
            except Unanswered as error:
                self.ledger.write(event="answer", error=str(error).split(":")[0], **entry)
                time.sleep(0.1)
                continue
            told = json.loads(answer)
            self.ledger.write(event="answer", status=status, id=told.get("id"), told=told.get("status"),
                              code=told.get("code"), **entry)
            if status in (409, 429, 503):
                time.sleep(min(1.0, float(answered.get("Retry-After", 1))))
                continue
            if status in (200, 202) and kind in ("new", "race"):
                self.acknowledged.append((number, key))
            return


class Importer(threading.Thread):
    """Imports folder after folder by the command line, each until it is complete."""

    def __init__(self, server, stop, seed, folder):
        super().__init__(name="import", daemon=True)
        self.server, self.stop, self.first, self.folder = server, stop, (seed * 100 + 99) * 1_000_000, folder
        self.labels = defaultdict(set)
        self.reports, self.restarts = [], 0

    def run(self):
        while not self.stop.is_set():
            chunk = self.folder / f"{len(self.reports):04}"
            for n in range(CHUNK):
                body = pictures.drawn(self.first + len(self.reports) * CHUNK + n)
                path = chunk / f"class-{n % 3}" / f"{n}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(body)
                self.labels[hashlib.sha256(body).hexdigest()].add(path.parent.name)
            self.reports.append(self.until_complete(chunk))

    def until_complete(self, chunk):
        while True:
            try:
                return self.server.import_folder(
                    chunk, "imported", "--retries", 20, "--concurrency", 4, journal=chunk.with_suffix(".journal")
                )
            except (RuntimeError, json.JSONDecodeError):
                # The server was away for longer than it tries; the same command goes on.
                self.restarts += 1
                time.sleep(0.2)


def check_posted(report, server, account, dataset_id):
    report.note(f"-- posted: {account.tries} tries, {account.copies} answered copies and retries")
    report.note("answers: " + ", ".join(f"{n} x {what}" for what, n in sorted(account.answers.items())))
    allowed = {"200", "202", "409", "429", "503", "ConnectionRefusedError", "RemoteDisconnected",
               "ConnectionResetError", "BrokenPipeError", "IncompleteRead", "CannotSendRequest", "BadStatusLine"}
    report.figure("kinds of answers that no client should see", sorted(set(account.answers) - allowed), [])
    captures = {c["id"]: c for c in server.captures("posted")}
    acknowledged = account.acknowledged
    report.at_least("captures acknowledged", len(acknowledged), 1)
    report.figure("  that the server does not know", len(acknowledged - set(captures)), 0)
    report.figure("  without a verdict", sum(c["status"] == "queued" for c in captures.values()), 0)
    wrong = [i for sha, ids in account.ids.items() for i in ids if captures.get(i, {}).get("sha256", sha) != sha]
    report.figure("  that stand for other bytes", len(wrong), 0)
    torn = {key: told for key, told in account.by_key.items() if len({id_ for _, id_, _ in told}) > 1}
    report.figure("keys that were answered with different ids", len(torn), 0)
    report.listing("answered differently", (f"{key}: {told}" for key, told in torn.items()))
    report.figure("captures of bytes that nobody sent", sum(c["sha256"] not in account.sent for c in captures.values()), 0)
    check_events(report, server, "posted", captures)
    labels = defaultdict(set)
    for capture in captures.values():
        labels[capture["sha256"]].add(capture["label"])
    check_table(report, server, dataset_id, captures.values(), account.unique, labels)


def check_imported(report, server, importer, dataset_id):
    report.note(f"-- imported: {len(importer.reports)} folders, the command was started again {importer.restarts} times")
    report.figure("folders whose import is complete", sum(r["complete"] for r in importer.reports), len(importer.reports))
    captures = {c["id"]: c for c in server.captures("imported")}
    report.figure("captures without a verdict", sum(c["status"] == "queued" for c in captures.values()), 0)
    check_events(report, server, "imported", captures)
    check_table(report, server, dataset_id, captures.values(), set(importer.labels), importer.labels)


def check_table(report, server, dataset_id, captures, unique, labels):
    """Each unique picture is accepted once and is one row, and nothing else is."""
    report.note(reports.verdicts(captures))
    accepted = Counter(c["sha256"] for c in captures if c["status"] == "accepted")
    lost = [sha for sha in unique if not accepted[sha]]
    report.figure("unique pictures acknowledged", len(unique))
    report.figure("  that are not accepted (lost)", len(lost), 0)
    report.figure("  that are accepted more than once", sum(n > 1 for n in accepted.values()), 0)
    by_hash = defaultdict(list)
    for capture in captures:
        by_hash[capture["sha256"]].append(f"{capture['id']} {capture['status']}/{capture.get('reason')} {capture.get('detail')}")
    report.listing("lost", (f"{sha}: {by_hash.get(sha)}" for sha in lost))
    ids = {c["id"] for c in captures if c["status"] == "accepted"}
    twins = {c["id"]: c.get("twin_id") for c in captures if c["status"] == "duplicate"}
    report.figure("  duplicates whose twin is a duplicate itself", sum(t in twins for t in twins.values()))
    astray = [id_ for id_ in twins if last_twin(id_, twins) not in ids]
    report.figure("  duplicates that lead to no accepted photo", len(astray), 0)
    table = server.table(dataset_id)
    tables.check_photos(report, table, ids, labels, server.folder / "objects")
    tables.check_rejections(report, server.table(dataset_id, "rejections"), captures)
    named = set(tables.files(table))
    orphans = [p for p in table.rglob("*.parquet") if str(p) not in named and "_delta_log" not in p.parts]
    report.figure("  versions of the table", tables.version(table))
    report.figure("  Parquet files that no version names (left by a kill)", len(orphans))


def last_twin(id_, twins):
    """Where the chain of twins ends; none if it runs in a circle."""
    seen = set()
    while id_ in twins and id_ not in seen:
        seen.add(id_)
        id_ = twins[id_]
    return None if id_ in twins else id_


def check_events(report, server, name, captures):
    """The history tells one verdict for each capture, and never another one."""
    told = defaultdict(set)
    for line in server.events(name).splitlines():
        if line.startswith(b"data:"):
            event = json.loads(line[5:])
            told[event["id"]].add((event["status"], event.get("reason")))
    report.figure("captures in the history of events", len(told), len(captures))
    report.figure("  with more than one verdict", sum(len(verdicts) > 1 for verdicts in told.values()), 0)
