"""Photos per second of `import`, from its first request to its last verdict: 12 MP phone
photos, half-megapixel ones, and the small real sets. Client and server share the cores."""

import os
import shutil
import statistics
import time

from . import pictures
from . import report as reports
from .server import Server

NUM_12MP = 160
NUM_HALF_MP = 800
BAR_12MP = 15
BAR_HALF_MP = 60


def run(args):
    report = reports.Report("throughput", args.scratch)
    report.note(f"median of {args.runs} runs, each on a fresh data folder; {len(os.sched_getaffinity(0))} cores")
    phone, size_12 = pictures.phone_set(args, "12mp", NUM_12MP, pictures.PHONE_12MP)
    half, size_half = pictures.phone_set(args, "half-mp", NUM_HALF_MP, pictures.HALF_MP)
    small, count, size_small = small_set(args)
    one_set(report, args, "12 MP", phone, NUM_12MP, size_12, BAR_12MP)
    one_set(report, args, "0.5 MP", half, NUM_HALF_MP, size_half, BAR_HALF_MP)
    one_set(report, args, "small real", small, count, size_small, None)
    return report.end()


def small_set(args):
    """Both small real sets as one folder; links out of a folder are not followed."""
    folder = args.scratch / "made" / "small"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("trashnet", "caltech101"):
        for source in (args.data / "photos" / name).iterdir():
            if source.is_dir():
                shutil.copytree(source, folder / f"{name}-{source.name}", copy_function=shutil.copyfile)
    files = [f for f in folder.rglob("*") if f.is_file()]
    return folder, len(files), sum(f.stat().st_size for f in files) / len(files)


def one_set(report, args, name, folder, count, mean_bytes, bar):
    report.note(f"-- {name}: {count} photos of {mean_bytes / 1e6:.2f} MB on average")
    rates, sending, peaks, cpu, costs = [], [], [], [], []
    for n in range(args.runs):
        data = args.scratch / "throughput" / f"up-{n}"
        shutil.rmtree(data.parent, ignore_errors=True)
        with Server(args.tintype, data) as server:
            before, cpu_before, children = server.metrics(), server.cpu_seconds(), os.times()
            begun = time.monotonic()
            told = server.import_folder(folder, "photos", "--create")
            seconds = time.monotonic() - begun
            after, client = server.metrics(), os.times()
            cpu.append((
                (server.cpu_seconds() - cpu_before) / count * 1e3,
                (client.children_user + client.children_system
                 - children.children_user - children.children_system) / count * 1e3,
            ))
            judged = sum(told[s] for s in ("accepted", "duplicate", "review", "rejected"))
            if judged != count:
                report.figure("photos with a verdict", judged, count)
            # Around the whole command: start of the program, reading of the folder, last verdict.
            rates.append(count / seconds)
            sending.append(count / told["sending_seconds"])
            peaks.append(server.note_memory() / 2**20)
            costs = reports.step_costs(before, after)
            report.note(
                f"run {n + 1}: {rates[-1]:.1f} photos/s in {seconds:.1f} s, peak {peaks[-1]:.0f} MiB, "
                f"{told['accepted']} accepted, {told['duplicate']} duplicate, {told['review']} review"
            )
    rate = statistics.median(rates)
    if bar is None:
        report.figure(f"{name}: photos/s, end to end (median)", rate)
    else:
        report.at_least(f"{name}: photos/s, end to end (median)", round(rate, 1), bar)
    report.figure(f"{name}: photos/s, sent and answered (median)", statistics.median(sending))
    report.figure(f"{name}: peak memory of the server, MiB (largest)", max(peaks))
    report.figure(f"{name}: server CPU, ms a photo (median)", statistics.median(c[0] for c in cpu))
    report.figure(f"{name}: client CPU, ms a photo (median)", statistics.median(c[1] for c in cpu))
    report.listing(f"{name}: cost of each step in the last run, times and mean ms", (
        f"{metric:<28} {label:<22} {n:>7} {mean:>9.2f}" for metric, label, n, mean in costs
    ))
