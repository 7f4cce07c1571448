#!/usr/bin/env python3
"""Fingerprints of a folder of photos: Tintype beside imagededup's PHash and czkawka.

    python3 -m venv scratch && scratch/bin/pip install imagededup czkawka
    cargo build --release -p processor --example prepare
    scratch/bin/python benches/peers/folder.py --prepare target/release/examples/prepare FOLDER...

Told are seconds of processor time for a folder, each program in turn, medians of paired ratios. Ours does the
whole of stage "prepare" meanwhile (scores, small JPEG, both hashes in eight positions); the others only hash.
With --czkawka, that czkawka_cli; else the same library by its Python package, which is given a home of
its own each time, so that it finds no hashes of an earlier run.
"""

import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

HASHING = """
import sys
from imagededup.methods import PHash
PHash(verbose=False).encode_images(sys.argv[1], num_enc_workers=0, recursive=True)
"""
CZKAWKA = """
import sys
from pathlib import Path
from czkawka import ImageSimilarity
finder = ImageSimilarity()
finder.set_directories([Path(sys.argv[1])])
finder.set_similarity(5)
finder.find_similar()
"""


def spent(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as home:
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment = {**os.environ, **threads, "HOME": home, "XDG_CACHE_HOME": home, "XDG_CONFIG_HOME": home}
        done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 11):  # czkawka_cli says with 11 that it found something
        sys.exit(f"{command[0]} ended with {done.returncode}: {done.stderr[-1000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--prepare", required=True)
    arguments.add_argument("--czkawka", help="the program czkawka_cli")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--copies", type=int, default=1, help="of each photo: a few photos vanish beside a library's start")
    arguments.add_argument("folders", nargs="+", type=pathlib.Path)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        compare(given, pathlib.Path(scratch))


def copied(folder, copies, to):
    """The photos of `folder`, so many times over."""
    if copies == 1:
        return folder
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        for copy in range(copies):
            (to / folder.name).mkdir(exist_ok=True)
            shutil.copy(path, to / folder.name / f"{number:04}-{copy}{path.suffix}")
    return to / folder.name


def compare(given, scratch):
    for folder in (copied(folder, given.copies, scratch) for folder in given.folders):
        ways = {
            "ours": [given.prepare, folder],
            "imagededup PHash": [sys.executable, "-c", HASHING, folder],
            "czkawka": [given.czkawka, "image", "-d", folder] if given.czkawka
            else [sys.executable, "-c", CZKAWKA, folder],
        }
        # What it takes to load a library is not hashing, and differs from one time to the next.
        loading = {"imagededup PHash": [sys.executable, "-c", "from imagededup.methods import PHash"]}
        if not given.czkawka:
            loading["czkawka"] = [sys.executable, "-c", "import czkawka"]
        times = {name: [] for name in ways}
        for turn in range(given.rounds + 1):
            for name, command in ways.items():
                loaded = spent(loading[name]) if name in loading else 0.0
                taken = spent(command) - loaded
                # The first finds nothing in the page cache.
                if turn:
                    times[name].append(taken)
        num = sum(path.is_file() for path in folder.rglob("*"))
        print(f"{folder.name}: {num} photos")
        for name in ways:
            ratio = statistics.median(p / o for p, o in zip(times[name], times["ours"]))
            each = statistics.median(times[name]) / num * 1e3
            print(f"  {name:18} {each:8.2f} ms a photo   this / ours {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
