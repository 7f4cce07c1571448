#!/usr/bin/env python3
"""64-bit search, exact: FAISS and Tintype's duplicate index on the same codes, in turn, one thread.

    python3 -m venv scratch && scratch/bin/pip install numpy faiss-cpu
    cargo build --release -p duplicate-index --example search
    scratch/bin/python benches/peers/search.py --search target/release/examples/search

Half of the codes are random, half lie near others, as those of real photos do; the queries are
codes with up to nine bits changed. Prints medians of the rounds, paired ratios, and
whether both found the same number of hits; exit status 1 if not.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import faiss
import numpy


class Ours:
    def __init__(self, program, codes, queries, radius, folder):
        paths = folder / "codes", folder / "queries"
        codes.tofile(paths[0])
        queries.tofile(paths[1])
        self.process = subprocess.Popen(
            [program, *paths, str(radius)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        seconds, hits = self.process.stdout.readline().split()
        return float(seconds), int(hits)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--search", required=True)
    arguments.add_argument("--codes", type=int, default=10_000_000)
    arguments.add_argument("--queries", type=int, default=256)
    arguments.add_argument("--radius", type=int, default=7)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    faiss.omp_set_num_threads(1)
    dice = numpy.random.default_rng(5)

    def flipped(codes, most):
        for _ in range(most):
            flip = numpy.uint64(1) << dice.integers(0, 64, len(codes), dtype=numpy.uint64)
            codes = codes ^ numpy.where(dice.random(len(codes)) < 0.5, flip, numpy.uint64(0))
        return codes

    half = dice.integers(0, 2**64, given.codes // 2, dtype=numpy.uint64)
    near = flipped(half[dice.integers(0, len(half) // 8, given.codes - len(half))], 12)
    codes = numpy.concatenate([half, near])
    dice.shuffle(codes)
    queries = flipped(codes[dice.integers(0, len(codes), given.queries)], 9)
    peer = faiss.IndexBinaryFlat(64)
    peer.add(codes.view(numpy.uint8).reshape(-1, 8))
    asked = queries.view(numpy.uint8).reshape(-1, 8)

    def faiss_range():
        began = time.perf_counter()
        # FAISS means "nearer than".
        bounds, _, _ = peer.range_search(asked, given.radius + 1)
        return time.perf_counter() - began, int(bounds[-1])

    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(given.search, codes, queries, given.radius, pathlib.Path(folder))
        times = {name: [] for name in ("faiss", "scan", "within", "one", "build")}
        hits = {}
        for _ in range(given.rounds):
            for name in times:
                seconds, hits[name] = faiss_range() if name == "faiss" else ours.ask(name)
                times[name].append(seconds)
        ours.process.stdin.close()
        ours.process.wait()
    print(f"{given.codes} codes, {given.queries} queries, radius {given.radius}, "
          f"faiss {faiss.__version__}, one thread")
    for name in ("faiss", "scan", "within", "one"):
        each = statistics.median(times[name]) / given.queries * 1e3
        ratio = statistics.median(p / o for p, o in zip(times["faiss"], times[name]))
        print(f"{name:8} {each:8.3f} ms a query   FAISS / this {ratio:8.2f}   {hits[name]} hits")
    print(f"build    {statistics.median(times['build']):8.3f} s")
    same = len({hits[name] for name in ("faiss", "scan", "within", "one")}) == 1
    print("the same hits" if same else "DIFFERENT hits")
    sys.exit(not same)


if __name__ == "__main__":
    main()
