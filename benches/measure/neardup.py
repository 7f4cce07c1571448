"""Edited copies with ground truth: precision and recall of the duplicate verdicts, set
by set and kind of edit by kind of edit, with `near_duplicates = drop`. No bar: the
figures are what they are, and each wrong verdict is listed."""

import csv
import json
import shutil
from collections import defaultdict
from dataclasses import dataclass

from . import report as reports
from .server import Server

# Groups of these sets are different pictures on purpose: one called a duplicate is a false one.
DIFFERENT = {"md5-identical-pairs": "different files with one MD5", "ukbench-80x4": "other views of one object"}
# Looked at: this file is that group's photo with an alpha channel, which the table does not say.
SAME_GROUP = {"idd_alpha_channel_image.png": "idd_ukbench00120"}


@dataclass
class File:
    """One file of the ground truth and what became of it."""

    path: str
    group: str
    relation: str
    status: str = ""
    reason: str = ""
    detail: str = ""
    twin: "File | None" = None


def run(args):
    report = reports.Report("neardup", args.scratch)
    folder = args.scratch / "neardup"
    shutil.rmtree(folder, ignore_errors=True)
    root = args.data / "neardup"
    sets = defaultdict(list)
    with open(root / "groundtruth.csv", newline="") as rows:
        for row in csv.DictReader(rows):
            if (root / row["path"]).is_file():
                group = SAME_GROUP.get(row["group"], row["group"])
                sets[row["path"].split("/")[0]].append(File(row["path"], group, row["relation"]))
    report.at_least("sets with ground truth", len(sets), 6)
    with Server(args.tintype, folder / "up") as server:
        totals = [one_set(report, server, root, name, files) for name, files in sorted(sets.items())]
        report.figure("process deaths", int(not server.is_alive()), 0)
    true, false, missed = (sum(column) for column in zip(*totals))
    report.note("-- all sets")
    tell(report, true, false, missed)
    return report.end()


def one_set(report, server, root, name, files):
    """Sends a set one by one, each group's base first, so that the order is always the
    same; counts true, false and missed duplicates."""
    dataset = server.create_dataset(name, near_duplicates="drop", quality="keep")["name"]
    files.sort(key=lambda f: (f.relation != "base", f.path))
    sent = {}
    for file in files:
        status, _, body = server.upload(dataset, (root / file.path).read_bytes(), "any")
        answer = json.loads(body)
        if status not in (200, 202):
            file.status, file.detail = "refused", answer.get("detail", "")
            continue
        server.settle(dataset, shards=False)
        told = server.get(f"/v1/captures/{answer['id']}")
        file.status, file.reason = told["status"], told.get("reason", "")
        file.detail = told.get("detail", "")
        # Bytes that were there already are answered with the id of the capture they stand for.
        twin = answer.get("duplicate_of") or told.get("twin_id")
        if answer["status"] == "duplicate":
            file.status, file.reason = "duplicate", "exact_duplicate"
        file.twin = sent.get(twin)
        sent.setdefault(answer["id"], file)

    report.note(f"-- {name}: {len(files)} files{', ' + DIFFERENT[name] if name in DIFFERENT else ''}")
    if name in DIFFERENT:
        called = [f for f in files if f.status == "duplicate"]
        within = [f for f in called if f.twin and f.twin.group == f.group]
        report.figure("  called duplicates within a group (false)", len(within))
        # One drawing in several containers, each in a pair of its own.
        report.figure("  called duplicates of another group (to judge)", len(called) - len(within))
        list_files(report, f"{name}: called duplicates", called)
        list_files(report, f"{name}: not judged", [f for f in files if f.status in ("rejected", "refused")])
        return 0, len(within), 0

    true, false, missed, seen = [], [], [], set()
    kinds = defaultdict(lambda: [0, 0])
    for file in files:
        if file.status in ("rejected", "refused"):
            continue
        expected = file.group in seen
        seen.add(file.group)
        if file.status == "duplicate":
            (true if file.twin and file.twin.group == file.group else false).append(file)
        elif expected:
            missed.append(file)
        if expected:
            kinds[file.relation][0] += file.status == "duplicate"
            kinds[file.relation][1] += 1
    tell(report, len(true), len(false), len(missed))
    for kind, (found, there) in sorted(kinds.items()):
        report.note(f"    {found}/{there} of: {kind}")
    list_files(report, f"{name}: missed", missed)
    list_files(report, f"{name}: false", false)
    list_files(report, f"{name}: not judged", [f for f in files if f.status in ("rejected", "refused")])
    return len(true), len(false), len(missed)


def tell(report, true, false, missed):
    report.figure("  duplicates found, false, missed", f"{true}, {false}, {missed}")
    report.figure("  precision", true / (true + false) if true + false else 1.0)
    report.figure("  recall", true / (true + missed) if true + missed else 1.0)


def list_files(report, title, files):
    def line(file):
        twin = f"-> {file.twin.path}" if file.twin else ""
        return f"{file.path}  {file.status}/{file.reason or '-'}  {file.detail} {twin}".rstrip()

    report.listing(title, map(line, files))
