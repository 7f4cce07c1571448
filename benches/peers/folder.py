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
    arguments.add_argument("folders", nargs="+", type=pathlib.Path)
    given = arguments.parse_args()
    for folder in given.folders:
        ways = {
            "ours": [given.prepare, folder],
            "imagededup PHash": [sys.executable, "-c", HASHING, folder],
            "czkawka": [given.czkawka, "image", "-d", folder] if given.czkawka
            else [sys.executable, "-c", CZKAWKA, folder],
        }
        idle = {
            "imagededup PHash": spent([sys.executable, "-c", "from imagededup.methods import PHash"]),
            "czkawka": 0.0 if given.czkawka else spent([sys.executable, "-c", "import czkawka"]),
        }
        times = {name: [] for name in ways}
        for _ in range(given.rounds):
            for name, command in ways.items():
                # What it takes to load a library is not hashing.
                times[name].append(spent(command) - idle.get(name, 0.0))
        num = sum(path.is_file() for path in folder.rglob("*"))
        print(f"{folder.name}: {num} photos")
        for name in ways:
            ratio = statistics.median(p / o for p, o in zip(times[name], times["ours"]))
            each = statistics.median(times[name]) / num * 1e3
            print(f"  {name:18} {each:8.2f} ms a photo   this / ours {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
