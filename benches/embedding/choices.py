"""What an embedding costs and what it is worth, at each side of the input.

    cargo build --release -p graph -p export --examples && cargo build --release -p processor --example prepare
    cargo build --release -p model --example step_speed
    pip install numpy pillow scikit-learn tract
    python3 benches/embedding/choices.py

Worth: accuracy of a logistic regression (C = 1) on the features of trashnet and caltech101, mean of
5-fold cross-validation repeated three times. Cost: milliseconds of processor time of one photo on one
thread, the programs in turns, medians of `--rounds`:

    graph   this project's executor of the folded network, which the processor uses
    tract   the same folded network as ONNX (examples/write_onnx), by tract's Python package
    flex    burn's own layers on its backend flex, batch norm not folded, photos in batches of 8
    fused   the layers that trainings use on a CPU, otherwise as flex
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile
import time
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


class Served:
    """A program that answers each line with a time; `factor` makes it milliseconds a photo."""

    def __init__(self, command, factor=1.0, **environment):
        self.factor = factor
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **environment})

    def sample(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline()) * self.factor

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Tract:
    def __init__(self, file, side):
        import tract

        model = tract.onnx().load(str(file))
        model.set_input_fact(0, f"1,3,{side},{side},f32")
        self.model = model.into_model().into_runnable()
        self.photo = numpy.random.rand(1, 3, side, side).astype("f")
        self.runs = 1
        self.runs = int(100 / self.sample()) + 1

    def sample(self):
        begun = time.thread_time()
        for _ in range(self.runs):
            self.model.run([self.photo])
        return (time.thread_time() - begun) * 1e3 / self.runs

    def end(self):
        del self.model


def costs(args, scratch):
    samples = {}
    runtimes = {}
    for side in SIDES:
        size = ["mobilenet_v2", str(side)]
        runtimes["graph", side] = Served([args.bin / "speed", *size, "--serve"])
        file = scratch / f"{side}.onnx"
        subprocess.run([args.bin / "write_onnx", *size, file], check=True)
        runtimes["tract", side] = Tract(file, side)
        for name, device in (("flex", "unfused"), ("fused", "cpu")):
            command = [args.bin / "step_speed", "frozen", *size, "8", device]
            runtimes[name, side] = Served(command, 1e3 / 8, RAYON_NUM_THREADS="1")
    for round_ in range(args.rounds + 1):
        for key, runtime in runtimes.items():
            value = runtime.sample()
            if round_ > 0:
                samples.setdefault(key, []).append(value)
    for runtime in runtimes.values():
        runtime.end()
    return {key: statistics.median(values) for key, values in samples.items()}


def main():
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", photos.ROOT / "target")) / "release" / "examples"
    parser.add_argument("--bin", type=pathlib.Path, default=target)
    parser.add_argument("--prepare", type=pathlib.Path, default=target / "prepare")
    parser.add_argument("--weights", type=pathlib.Path, default=photos.DATA / "weights" / "mobilenet_v2.safetensors")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the features, for flips.py")
    parser.add_argument("--only", choices=("worth", "costs"))
    args = parser.parse_args()
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        rows = {} if args.only == "costs" else worth(args, scratch)
        times = {} if args.only == "worth" else costs(args, scratch)
    for (name, side), (accuracy, num_photos) in rows.items():
        print(f"{name} ({num_photos} photos) at {side}: accuracy {accuracy:.4f}")
    for (who, side), ms in times.items():
        print(f"{who} at {side}: {ms:.2f} ms a photo")


if __name__ == "__main__":
    main()
