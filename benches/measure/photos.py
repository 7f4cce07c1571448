"""`import` of every set of real photos: every file has one verdict, every accepted one
is one row that independent readers find whole, and the others are listed to be judged."""

import hashlib
import shutil
from collections import defaultdict

from . import report as reports
from . import tables
from .server import Server


def run(args):
    report = reports.Report("photos", args.scratch)
    folder = args.scratch / "photos"
    shutil.rmtree(folder, ignore_errors=True)
    sets = sorted(path for path in (args.data / "photos").iterdir() if path.is_dir())
    report.at_least("sets of photos", len(sets), 1)
    with Server(args.tintype, folder / "up") as server:
        for path in sets:
            one_set(report, server, path, folder)
        report.figure("process deaths", int(not server.is_alive()), 0)
        report.figure("peak memory, MiB", server.note_memory() / 2**20)
        code, seconds = server.stop()
        report.figure("exit code after Ctrl-C", code, 0)
        report.at_most("  seconds until then", round(seconds, 1), 10)
    return report.end()


def one_set(report, server, path, folder):
    """Imports one set into a dataset of its own and checks all of it."""
    name = path.name.lower()
    report.note(f"-- {name}")
    labels, paths = defaultdict(set), {}
    files = [f for f in path.rglob("*") if f.is_file()]
    for file in files:
        inside = file.relative_to(path)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        labels[sha256].add(inside.parts[0] if len(inside.parts) > 1 else "unsorted")
        paths[sha256] = inside
    count = len(files)

    told = server.import_folder(path, name, "--create")
    judged = sum(told[status] for status in ("accepted", "duplicate", "review", "rejected"))
    report.figure("files sent", told["sent"], count)
    report.figure("accepted + duplicate + review + rejected", judged, count)
    report.figure("files without a verdict", told["undecided"] + told["failed"], 0)
    report.note(f"{told['seconds']:.1f} s, {told['photos_per_s']:.1f} photos/s (not the throughput run)")

    server.settle(name)
    captures = server.captures(name)
    report.note(reports.verdicts(captures))
    by_id = {c["id"]: str(paths.get(c["sha256"], "?")) for c in captures}
    report.listing(f"{name}: not accepted", (
        f"{f.get('status', 'not sent')}/{f.get('reason', '-')}  {f['path']}  "
        + " ".join(by_id.get(word, word) for word in f.get("detail", "").split())
        for f in sorted(told["files"], key=lambda f: (f.get("reason") or "", f["path"]))
    ))
    accepted = {c["id"] for c in captures if c["status"] == "accepted"}
    report.figure("accepted, by the API", len(accepted), told["accepted"])
    dataset_id = server.get(f"/v1/datasets/{name}")["id"]
    objects = server.folder / "objects"
    tables.check_photos(report, server.table(dataset_id), accepted, labels, objects)
    tables.check_rejections(report, server.table(dataset_id, "rejections"), captures)
    tables.check_hugging_face(report, server.table(dataset_id), folder / "hugging-face")

    again = server.import_folder(path, name)
    report.figure("files that a second import sends", again["sent_now"], 0)
