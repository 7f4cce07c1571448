#!/usr/bin/env python3
"""Does a second processor help? `scale.py --photos FOLDER [--tintype BINARY]`.

Puts a backlog on Kafka, S3 and PostgreSQL of its own (deploy/dev): the real photos of FOLDER, sent
to several datasets while no processor runs. Then starts 1, 2, 4 processors at once, each time on
servers and a backlog of their own, and tells how long they take for it, and what the cores did."""

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

sys.dont_write_bytecode = True
BENCHES = Path(__file__).resolve().parent
sys.path[:0] = [str(BENCHES), str(BENCHES.parent / "deploy" / "dev")]
PHOTOS = (".jpg", ".jpeg")
CLIENTS = 4
DRAINED_WITHIN_S = 1200


def main():
    args = arguments()
    from measure.report import Report

    photos = sorted(p for p in args.photos.rglob("*") if p.suffix.lower() in PHOTOS)[: args.limit]
    if not photos:
        sys.exit(f"scale: no JPEG below {args.photos}")
    report = Report("scale", args.scratch)
    report.note(f"{len(photos)} photos to each of {args.datasets} datasets; {os.cpu_count()} cores")
    rates = {}
    for number in args.processors:
        rates[number] = measure(args, report, photos, number)
    for number, rate in rates.items():
        report.figure(f"{number} processors: photos/s beside those of {args.processors[0]}", rate / rates[args.processors[0]])
    sys.exit(0 if report.end() else 1)


def measure(args, report, photos, number):
    """Photos a second of so many processors."""
    from chaos.cluster import Cluster
    from devservers.fleet import Fleet

    folder = args.scratch / f"{number}-processors"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fleet = Fleet(folder / "servers", args.tools)
    wanted = SimpleNamespace(ingests=1, processors=number, guests=0, group_protocol="cooperative", static=True, planted=None)
    cluster = Cluster(args.tintype, folder, fleet, wanted, {"decode_threads": args.decode_threads, "embed": "false"})
    try:
        fleet.up()
        door, key = cluster.doors[0], cluster.initialise()
        door.key = key
        door.start(wait=False)
        door.wait_ready()
        names = [f"scale-{n}" for n in range(args.datasets)]
        for name in names:
            door.create_dataset(name, quality="keep")
        send(door, names, photos)
        staff = cluster.of("processor")
        busy, begun = Busy(fleet, staff), time.monotonic()
        for process in staff:
            process.start(wait=False)
        waiting = len(photos) * len(names)
        while waiting and time.monotonic() - begun < DRAINED_WITHIN_S:
            time.sleep(0.25)
            stats = [door.get(f"/v1/datasets/{name}/stats") for name in names]
            waiting = sum(s["statuses"].get("queued", 0) for s in stats)
        took = time.monotonic() - begun
        report.figure(f"{number} processors: every photo has its verdict", waiting == 0, True)
        rate = len(photos) * len(names) / took
        report.figure("  photos a second", rate)
        for who, seconds in busy.seconds().items():
            report.figure(f"  processor time a second of {who}", seconds / took)
        return rate
    finally:
        cluster.end()
        fleet.down()


def send(door, names, photos):
    """Every photo to every dataset."""
    from measure.server import Unanswered

    left = [(name, photo) for photo in photos for name in names]
    lock, failures = threading.Lock(), []

    def run():
        while True:
            with lock:
                if not left or failures:
                    return
                name, photo = left.pop()
            try:
                status = 0
                while status not in (200, 202):
                    status, headers, answer = door.upload(name, photo.read_bytes(), photo.parent.name)
                    if status == 503:
                        time.sleep(float(headers.get("Retry-After", 1)))
                    elif status not in (200, 202):
                        raise RuntimeError(f"{photo}: {status} {answer[:200]}")
            except (RuntimeError, Unanswered) as failure:
                failures.append(failure)

    threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Busy:
    """Processor time of everybody from now on."""

    def __init__(self, fleet, staff):
        self.fleet, self.staff, self.begun = fleet, staff, {}
        self.begun = self.now()

    def now(self):
        found = {name: spent(group_of(server.pid())) for name, server in self.fleet.servers.items()}
        alive = [p.process.pid for p in self.staff if p.process]
        return found | {"all processors": sum(spent([pid]) for pid in alive)}

    def seconds(self):
        return {who: seconds - self.begun[who] for who, seconds in self.now().items()}


def group_of(pid):
    """A server and all that it started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(entry.name) == pid or int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


def spent(pids):
    """Seconds of user and system time, of ended children too."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def arguments():
    target = Path(os.environ.get("CARGO_TARGET_DIR", BENCHES.parent / "target"))
    parser = argparse.ArgumentParser(prog="scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--photos", type=Path, required=True, metavar="FOLDER")
    add("--tintype", type=Path, default=target / "release" / "tintype", metavar="BINARY")
    add("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "tintype-scale", metavar="DIR")
    add("--tools", type=Path, help="where servers are fetched to (default: TINTYPE_DEV_TOOLS, else below --scratch)")
    add("--processors", type=int, nargs="+", default=[1, 2, 4])
    add("--datasets", type=int, default=4, help="(default: %(default)s)")
    add("--decode-threads", type=int, default=1, help="of each processor (default: %(default)s)")
    add("--limit", type=int, default=1280, help="photos of the folder at most (default: %(default)s)")
    args = parser.parse_args()
    args.scratch, args.tintype = args.scratch.resolve(), args.tintype.resolve()
    args.tools = args.tools or Path(os.environ.get("TINTYPE_DEV_TOOLS", args.scratch / "tools"))
    if not importlib.util.find_spec("deltalake"):
        sys.exit("scale: run it with the packages of benches/requirements.txt")
    return args


if __name__ == "__main__":
    main()
