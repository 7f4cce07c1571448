"""A server with nothing to do: what it costs to leave it on."""

import shutil
import time

from . import pictures
from . import report as reports
from .server import Server

SECONDS = 20
# The first seconds are start-up: topics, first polls, empty caches.
SETTLE_S = 10


def run(args):
    report = reports.Report("idle", args.scratch)
    folder = args.scratch / "idle"
    shutil.rmtree(folder, ignore_errors=True)
    begun = time.monotonic()
    with Server(args.tintype, folder / "up") as server:
        report.figure("seconds from start to ready, new folder", time.monotonic() - begun)
        weigh(report, server, "new")
        server.create_dataset("few", quality="keep")
        for n in range(20):
            server.upload("few", pictures.drawn(n), "few")
        server.settle("few")
        weigh(report, server, "after 20 photos")
    begun = time.monotonic()
    with server:
        report.figure("seconds from start to ready, existing folder", time.monotonic() - begun)
    return report.end()


def weigh(report, server, when):
    time.sleep(SETTLE_S)
    before = server.cpu_seconds()
    time.sleep(SECONDS)
    used = server.cpu_seconds() - before
    report.figure(f"idle, {when}: CPU seconds in {SECONDS} s", used)
    report.figure(f"idle, {when}: memory (VmRSS), MiB", server.memory("VmRSS") / 2**20)
