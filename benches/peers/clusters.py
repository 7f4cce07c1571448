#!/usr/bin/env python3
"""Kinds of photo: Tintype's, which come one by one and whose number nobody tells, beside k-means.

    pip install numpy pillow scikit-learn
    cargo build --release -p graph --example logits -p processor --example prepare --example clusters
    python3 benches/peers/clusters.py

Both get the same embeddings. k-means is told the true number of classes, sees all photos at once and is the best
of ten starts; told is normalised mutual information with the classes, mean of five seeds for k-means, and of
three orders of arrival for ours: mixed ones, and class by class. `last fit` is what the list of clusters
shows at the end; `as written` is the column cluster_id, which a photo gets when it comes, over the second half.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "embedding"))
import photos


def ours(program, features):
    lines = "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in features)
    run = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    words = [line.split() for line in run.stdout.splitlines()]
    column = lambda at: numpy.array([row[at] for row in words])
    return column(0), column(1), (column(2) == "1").mean(), run.stderr.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", photos.ROOT / "target")) / "release" / "examples"
    parser.add_argument("--bin", type=pathlib.Path, default=target)
    parser.add_argument("--data", type=pathlib.Path, default=photos.DATA)
    args = parser.parse_args()
    sets = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("trashnet", "caltech101"):
            found = photos.prepared(args.bin / "prepare", args.data / "photos" / name, pathlib.Path(scratch) / name)
            weights = args.data / "weights" / "mobilenet_v2.safetensors"
            matrix = photos.features(args.bin / "logits", weights, 224, [path for path, _ in found])
            sets[name] = matrix, numpy.array([label for _, label in found])
    sets["both"] = tuple(numpy.concatenate(parts) for parts in zip(*sets.values()))
    for name, (matrix, labels) in sets.items():
        truth = numpy.unique(labels, return_inverse=True)[1]
        unit = matrix / numpy.linalg.norm(matrix, axis=1, keepdims=True)
        nmi = lambda kinds, of=slice(None): normalized_mutual_info_score(truth[of], kinds[of])
        means = max(
            numpy.mean([nmi(KMeans(truth.max() + 1, n_init=10, random_state=seed).fit_predict(x)) for seed in range(5)])
            for x in (matrix, unit)
        )
        print(f"{name}: {len(truth)} photos, {truth.max() + 1} classes; k-means {means:.3f}")
        chance = numpy.random.default_rng(5)
        orders = {f"mixed {n}": chance.permutation(len(truth)) for n in range(3)}
        orders["class by class"] = numpy.argsort(truth, kind="stable")
        for order, places in orders.items():
            written, last, odd, told = ours(args.bin / "clusters", matrix[places])
            back = numpy.argsort(places)
            value = nmi(last[back])
            half = places[len(places) // 2 :]
            print(f"  {order:15} last fit {value:.3f} ({len(set(last))} kinds), ours / k-means {value / means:.3f}; "
                  f"as written {nmi(written[back], half):.3f}; {odd:.3f} outliers; {told}", flush=True)


if __name__ == "__main__":
    main()
