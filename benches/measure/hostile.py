"""Every hostile file over HTTP, many at once, as raw bodies and again by `import`: each
request is answered, each capture gets a verdict, the process lives and stays small."""

import csv
import json
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from . import report as reports
from . import tables
from .server import Server, Unanswered

CLIENTS = 16
PEAK_MIB = 512
# A refusal with Retry-After is an answer; the file is sent again, this often.
TRIES = 100


def run(args):
    report = reports.Report("hostile", args.scratch)
    folder = args.scratch / "hostile"
    shutil.rmtree(folder, ignore_errors=True)
    root = args.data / "hostile"
    files = sorted(path for path in root.rglob("*") if path.is_file())
    report.at_least("files", len(files), 6000)
    with Server(args.tintype, folder / "up") as server:
        over_http(report, server, root, files)
        by_import(report, server, root, files)
        report.figure("process deaths", int(not server.is_alive()), 0)
        report.figure("answer of /readyz at the end", server.request("GET", "/readyz")[0], 200)
        told = server.metrics()
        late = {k: v for k, v in told.items() if k.startswith("tintype_prepare_late_threads")}
        report.figure("decoding threads that never came back", int(sum(late.values())))
        peak = told["process_peak_resident_memory_bytes"] / 2**20
        report.at_most("peak memory of the process (VmHWM), MiB", round(peak, 1), PEAK_MIB)
        code, _ = server.stop()
        report.figure("exit code after Ctrl-C", code, 0)
        panics = [line for line in server.err.read_text(errors="replace").splitlines() if "panicked" in line]
        report.listing("panics in the log (each a verdict, none an outage)", panics, 10)
    return report.end()


def over_http(report, server, root, files):
    """Raw bodies by many clients at once, straight at the API."""
    report.note(f"-- over HTTP, {CLIENTS} clients")
    dataset = server.create_dataset("hostile")
    answers, unanswered, seconds = Counter(), [], []
    receipts, lock = {}, threading.Lock()

    def send(path):
        body = path.read_bytes()
        for _ in range(TRIES):
            begun = time.monotonic()
            try:
                status, headers, answer = server.upload("hostile", body, "hostile")
            except Unanswered as error:
                with lock:
                    unanswered.append(f"{path.relative_to(root)}: {error}")
                return
            with lock:
                seconds.append(time.monotonic() - begun)
                told = json.loads(answer)
                answers[f"{status} {told.get('code') or told.get('status')}"] += 1
                if status in (200, 202):
                    receipts[path] = told["id"]
            if status not in (429, 503):
                return
            time.sleep(float(headers.get("Retry-After", 1)))
        unanswered.append(f"{path.relative_to(root)}: refused {TRIES} times")

    begun = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, files))
    sent_s = time.monotonic() - begun
    server.settle("hostile", shards=False)
    whole_s = time.monotonic() - begun
    server.settle("hostile")
    for answer, n in sorted(answers.items()):
        report.figure(f"  answered {answer}", n)
    report.figure("requests without an answer", len(unanswered), 0)
    report.listing("without an answer", unanswered)
    report.figure("  slowest answer, s", max(seconds))
    report.figure("  seconds until all were sent", sent_s)
    report.figure("  seconds until all were judged", whole_s)
    captures = server.captures("hostile")
    report.figure("captures without a verdict", sum(c["status"] == "queued" for c in captures), 0)
    report.figure("ids answered that are no capture", len(set(receipts.values()) - {c["id"] for c in captures}), 0)
    for reason, n in sorted(Counter(f"{c['status']}/{c.get('reason', '-')}" for c in captures).items()):
        report.figure(f"  {reason}", n)
    accepted = {c["id"]: c for c in captures if c["status"] == "accepted"}
    wrong = tables.wrong_pictures(server.table(dataset["id"]))
    report.figure("rows of the photos table", len(tables.rows(server.table(dataset["id"]))), len(accepted))
    report.figure("  pictures that do not decode to the stated size", len(wrong), 0)
    beside_pillow(report, root, receipts, {c["id"]: c for c in captures})


def beside_pillow(report, root, receipts, captures):
    """Where the verdict and what Pillow made of the file disagree: for a person to judge."""
    with open(root / "outcomes.csv", newline="", errors="replace") as rows:
        pillow = {row["path"]: row for row in csv.DictReader(rows)}
    seen_but_broken, refused_but_fine = [], []
    for path, id_ in receipts.items():
        name = str(path.relative_to(root))
        made, capture = pillow.get(name), captures[id_]
        if made is None:
            continue
        if capture["status"] != "rejected" and made["pillow_result"] != "ok":
            seen_but_broken.append(f"{capture['status']}  {name}  Pillow: {made['pillow_result']}")
        if capture["status"] == "rejected" and made["pillow_result"] == "ok":
            kind = f"{made['pillow_format']}/{capture['reason']}"
            refused_but_fine.append((kind, f"{kind}  {name}  {capture.get('detail')}"))
    report.listing("not rejected, but Pillow failed", sorted(seen_but_broken), 15)
    kinds = Counter(kind for kind, _ in refused_but_fine)
    report.listing("rejected, but Pillow read it", (f"{n:>5} {kind}" for kind, n in sorted(kinds.items())))
    # Sizes and frames are policy; these are judgements of the decoder.
    judged = ("JPEG/corrupt", "JPEG/truncated", "JPEG/unsupported_format", "PNG/corrupt", "PNG/truncated")
    report.listing("of these, to judge", sorted(line for kind, line in refused_but_fine if kind in judged), 15)
    report.listing("the decoder's own failures", (
        f"{path.relative_to(root)}  {captures[id_].get('detail')}" for path, id_ in receipts.items()
        if captures[id_].get("reason") in ("decoder_failure", "decode_deadline", "decode_memory")
    ))


def by_import(report, server, root, files):
    """The same files by the command line, into another dataset."""
    report.note("-- by import")
    told = server.import_folder(root, "hostile-import", "--create", codes=(0, 6))
    judged = sum(told[status] for status in ("accepted", "duplicate", "review", "rejected"))
    report.figure("files found", told["found"], len(files))
    report.figure("accepted + duplicate + review + rejected", judged, len(files))
    report.figure("files without a verdict", told["undecided"] + told["failed"], 0)
    report.figure("  seconds", told["seconds"])
    for reason, n in sorted(told["reasons"].items()):
        report.figure(f"  {reason}", n)
    report.listing("not sent", (
        f"{f['path']}  {f.get('detail', '')}" for f in told["files"] if "status" not in f
    ))
