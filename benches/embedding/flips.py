"""Wrong labels found, beside cleanlab on the same embeddings.

    cargo build --release -p graph --example logits && cargo build --release -p processor --example prepare --example plausibility
    pip install numpy pillow scikit-learn cleanlab
    python3 benches/embedding/flips.py

A tenth of the labels of trashnet, and of caltech101, is changed to another label by chance (`--seeds` times).
Told is how many of these score below the value that 5 % of the right labels score below. cleanlab gets
the probabilities of a logistic regression (C = 1, 5-fold, out of fold) and scores by self-confidence and by
normalised margin; ours judges each photo by all others. The weights of ours were chosen on half a of the
photos (`half`); told are half b, alone, and all of them. `stream` is what a table that fills tells: each
photo judged by those before it, those without a score counted as not found. `at 50` is what the
threshold of 50 % does: wrong labels held up, right labels held up.
"""

import argparse
import os
import pathlib
import subprocess
import tempfile
import warnings

import cleanlab
import numpy
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

import photos


def flipped(labels, seed, part=0.1):
    chance = numpy.random.default_rng(seed)
    wrong = numpy.zeros(len(labels), bool)
    wrong[chance.choice(len(labels), int(len(labels) * part), replace=False)] = True
    classes = labels.max() + 1
    return numpy.where(wrong, (labels + chance.integers(1, classes, len(labels))) % classes, labels), wrong


def half(num, which):
    return numpy.random.default_rng(1000).permutation(num) % 2 == "ab".index(which)


def recall(scores, wrong, false_flags=0.05):
    return (scores[wrong] < numpy.quantile(scores[~wrong], false_flags)).mean()


def ours(program, features, labels, *mode):
    lines = "".join(f"{label}\t{' '.join(f'{value:.9g}' for value in row)}\n" for label, row in zip(labels, features))
    run = subprocess.run([program, *mode], input=lines, stdout=subprocess.PIPE, text=True, check=True)
    words = [line.split("\t")[0] for line in run.stdout.splitlines()]
    return numpy.array([numpy.nan if word == "-" else float(word) for word in words])


def main():
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", photos.ROOT / "target")) / "release" / "examples"
    parser.add_argument("--bin", type=pathlib.Path, default=target)
    parser.add_argument("--logits", type=pathlib.Path, default=target / "logits")
    parser.add_argument("--weights", type=pathlib.Path, default=photos.DATA / "weights" / "mobilenet_v2.safetensors")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    print(f"cleanlab {cleanlab.__version__}, side {args.side}, {args.seeds} seeds")
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("trashnet", "caltech101"):
            found = photos.prepared(args.bin / "prepare", photos.DATA / "photos" / name, pathlib.Path(scratch) / name)
            matrix = photos.features(args.logits, args.weights, args.side, [path for path, _ in found])
            truth = numpy.unique([label for _, label in found], return_inverse=True)[1]
            parts = {"half b": half(len(truth), "b"), "all": numpy.ones(len(truth), bool)}
            for part, of in parts.items():
                print(f"{name}, {part}: {of.sum()} photos, {truth.max() + 1} labels")
                for who, values in judged(args, matrix[of], truth[of]).items():
                    print(f"  {who:36} {numpy.mean(values):.3f}  ({min(values):.3f} to {max(values):.3f})", flush=True)


def judged(args, matrix, truth):
    """What each finds, seed by seed."""
    table = {}
    for seed in range(args.seeds):
        labels, wrong = flipped(truth, seed)
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        model = LogisticRegression(C=1.0, max_iter=1000)
        said = cross_val_predict(model, matrix, labels, cv=folds, method="predict_proba")
        for method in ("self_confidence", "normalized_margin"):
            scores = get_label_quality_scores(labels, said, method=method)
            table.setdefault(f"cleanlab, {method}", []).append(recall(scores, wrong))
        scores = ours(args.bin / "plausibility", matrix, labels)
        table.setdefault("ours", []).append(recall(scores, wrong))
        table.setdefault("ours at 50: wrong held up", []).append((scores[wrong] < 0.5).mean())
        table.setdefault("ours at 50: right held up", []).append((scores[~wrong] < 0.5).mean())
        order = numpy.random.default_rng(seed).permutation(len(labels))
        streamed = ours(args.bin / "plausibility", matrix[order], labels[order], "--stream")
        streamed, wrong = numpy.nan_to_num(streamed, nan=1.0), wrong[order]
        table.setdefault("ours, stream", []).append(recall(streamed, wrong))
        table.setdefault("ours, stream, at 50: wrong held up", []).append((streamed[wrong] < 0.5).mean())
        table.setdefault("ours, stream, at 50: right held up", []).append((streamed[~wrong] < 0.5).mean())
    return table


if __name__ == "__main__":
    main()
