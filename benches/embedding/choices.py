"""What an embedding costs and what it is worth, at each side of the input.

    cargo build --release -p graph --examples && cargo build --release -p processor --example prepare
    cargo build --release -p model --example step_speed
    pip install numpy pillow scikit-learn
    python3 benches/embedding/choices.py [--tract PROGRAM]

Worth: accuracy of a logistic regression (C = 1) on the features of trashnet and caltech101, mean of
5-fold cross-validation repeated three times. Cost: milliseconds of processor time of one photo on one
thread, by `graph`, by burn (`model`, flex; its unfolded forward with photos in batches of 8) and,
with --tract, by a program that prints the same line as graph's example `speed`; the programs take
turns, medians of `--rounds`.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile
import warnings

import numpy
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score

import photos

SIDES = (224, 192, 160, 128, 96)


def worth(args, scratch):
    rows = {}
    for name in ("trashnet", "caltech101"):
        found = photos.prepared(args.prepare, photos.DATA / "photos" / name, scratch / name)
        labels = numpy.array([label for _, label in found])
        for side in SIDES:
            matrix = photos.features(args.bin / "logits", args.weights, side, [path for path, _ in found])
            numpy.savez(args.keep / f"{name}-{side}.npz", features=matrix, labels=labels) if args.keep else None
            folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=3, random_state=1)
            accuracies = cross_val_score(LogisticRegression(C=1.0, max_iter=1000), matrix, labels, cv=folds)
            rows[name, side] = (accuracies.mean(), len(labels))
    return rows


def speed_sample(process):
    process.stdin.write("go\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def costs(args):
    samples = {}
    served = {}
    for side in SIDES:
        start = lambda command, **more: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more)
        served["graph", side] = start([args.bin / "speed", "mobilenet_v2", str(side), "--serve"])
        if args.step_speed:
            served["burn", side] = start([args.step_speed, "frozen", "mobilenet_v2", str(side), "8", "cpu"],
                                         env={**os.environ, "RAYON_NUM_THREADS": "1"})
        if args.tract:
            served["tract", side] = start([args.tract, "mobilenet_v2", str(side), "--serve"])
    for round_ in range(args.rounds + 1):
        for (who, side), process in served.items():
            value = speed_sample(process)
            if who == "burn":
                value *= 1e3 / 8
            if round_ > 0:
                samples.setdefault((who, side), []).append(value)
    for process in served.values():
        process.stdin.close()
        process.wait()
    return {key: statistics.median(values) for key, values in samples.items()}


def main():
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", photos.ROOT / "target")) / "release" / "examples"
    parser.add_argument("--bin", type=pathlib.Path, default=target)
    parser.add_argument("--prepare", type=pathlib.Path, default=target / "prepare")
    parser.add_argument("--step-speed", type=pathlib.Path)
    parser.add_argument("--tract", type=pathlib.Path)
    parser.add_argument("--weights", type=pathlib.Path, default=photos.DATA / "weights" / "mobilenet_v2.safetensors")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the features, for flips.py")
    parser.add_argument("--only", choices=("worth", "costs"))
    args = parser.parse_args()
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        rows = {} if args.only == "costs" else worth(args, pathlib.Path(scratch))
    for (name, side), (accuracy, num_photos) in rows.items():
        print(f"{name} ({num_photos} photos) at {side}: accuracy {accuracy:.4f}")
    times = {} if args.only == "worth" else costs(args)
    for (who, side), ms in times.items():
        print(f"{who} at {side}: {ms:.2f} ms a photo")


if __name__ == "__main__":
    main()
