#!/usr/bin/env python3
"""Near-duplicates: Tintype's fingerprints beside imagededup's PHash and CNN on a labelled set.

    python3 benches/peers/perturb.py --data DATA --out SET
    cargo build --release -p processor --example prepare
    python3 benches/peers/duplicates.py --set SET --prepare target/release/examples/prepare \\
        [--weights DATA/weights/mobilenet_v2.safetensors]

Every query names at most one photo of the base: the nearest, if it is near enough. It is right if
that is its source. Each method's threshold is the one with the most recall at a precision of
0.995 on half `a`; recall and precision are told on half `b`. Tintype's line has the product's own
thresholds. CPU time is that of fingerprinting base and queries, one thread each.

imagededup's CNN fetches weights from a hub; with --weights it gets those of MobileNetV2 instead, 224
pixels, as its documentation has it for models of one's own. Needs imagededup and Pillow.
"""

import argparse
import csv
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "embedding"))
import photos

BAR = 0.995


def bits(hexes):
    raw = numpy.frombuffer(bytes.fromhex("".join(hexes)), numpy.uint8)
    return numpy.unpackbits(raw.reshape(len(hexes), -1), axis=1)


def distances(a, b):
    """Of each row of bits to each other: how many differ."""
    a, b = (2 * x.astype(numpy.float32) - 1 for x in (a, b))
    return numpy.rint((a.shape[1] - a @ b.T) / 2)


def cpu(who):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def coarse(pdq):
    """The lowest eight frequencies of the lowest eight rows, as the index takes them."""
    rows = pdq.reshape(-1, 32, 8)
    return numpy.concatenate([rows[:, 31 - 2 * row] for row in range(8)], axis=1)


def sketches(features):
    """The 64 bytes of `organize/sketch.rs`, of unit length."""
    number = numpy.arange(1, features.shape[1] + 1, dtype=numpy.uint64)
    mixed = number * numpy.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    signs = numpy.where((mixed ^ (mixed >> numpy.uint64(31))) & numpy.uint64(1), 1.0, -1.0)
    sums = (features * signs).reshape(len(features), -1, 64).sum(axis=1)
    sums = numpy.rint(sums / numpy.linalg.norm(sums, axis=1, keepdims=True) * 300).clip(-127, 127)
    return sums / numpy.linalg.norm(sums, axis=1, keepdims=True)


def embedded(folders, program, logits, weights):
    """The likeness of each query to each photo of the base, as the organizer sees it."""
    made = []
    with tempfile.TemporaryDirectory() as scratch:
        for folder in folders:
            out = pathlib.Path(scratch) / folder.name
            out.mkdir()
            subprocess.run([program, "--out", out, folder], check=True, capture_output=True)
            jpegs = [out / f"{number}.jpg" for number in range(1, len(list(folder.iterdir())) + 1)]
            before = cpu(resource.RUSAGE_CHILDREN)
            made.append(sketches(photos.features(logits, weights, 224, jpegs)))
            print(f"    embeddings of {folder.name}: {cpu(resource.RUSAGE_CHILDREN) - before:.1f} s CPU")
    base, query = made
    return query @ base.T


def ours(folders, program):
    """A function from the two distances of a policy to distances, and seconds of CPU."""
    before = cpu(resource.RUSAGE_CHILDREN)
    lines = {}
    for folder in folders:
        done = subprocess.run([program, folder], check=True, capture_output=True, text=True)
        for line in done.stdout.splitlines():
            photo = json.loads(line)
            lines[pathlib.Path(photo["file"]).name, folder] = photo
    seconds = cpu(resource.RUSAGE_CHILDREN) - before
    base, query = (
        [lines[path.name, folder] for path in sorted(folder.iterdir())] for folder in folders
    )
    known, asked = (bits([p["pdq"] for p in photos]) for photos in (base, query))
    detail = [numpy.array([p["pdq_quality"] >= 50 for p in photos]) for photos in (base, query)]
    enough = detail[1][:, None] & detail[0][None, :]
    phash = distances(*(bits([p["phash"] for p in photos]) for photos in (query, base)))
    pairs = []
    for n in range(8):
        turned = asked if n == 0 else bits([p["pdq_turned"][64 * n - 64 : 64 * n] for p in query])
        near = distances(coarse(turned), coarse(known))
        pairs.append((distances(turned, known), near))
    same = {photo["pixel_sha256"]: n for n, photo in reversed(list(enumerate(base)))}

    def by(max_phash, max_pdq, likeness=None, more=32, least=0.9):
        best = numpy.full((len(query), len(base)), numpy.inf)
        for n, (distance, near) in enumerate(pairs):
            # As `organize/index.rs` has it.
            most = max_pdq if n == 0 else min(max_pdq, 31)
            allowed = enough & (distance <= most) & (near <= (19 if n == 0 else max(7, most // 4)))
            if n == 0:
                allowed &= phash <= max_phash
                second = enough & (distance <= most + 24) & (near <= 19)
                allowed |= second & (phash <= max_phash // 2)
                if likeness is not None:
                    most += more
                    alike = enough & (distance <= most) & (near <= 19)
                    allowed |= alike & (likeness >= least)
            best = numpy.minimum(best, numpy.where(allowed, distance, numpy.inf))
        for n, photo in enumerate(query):
            if photo["pixel_sha256"] in same:
                best[n, same[photo["pixel_sha256"]]] = -1
        return best

    return by, seconds


def imagededup_phash(folders):
    from imagededup.methods import PHash

    before = cpu(resource.RUSAGE_SELF) + cpu(resource.RUSAGE_CHILDREN)
    encoded = [PHash(verbose=False).encode_images(str(f), num_enc_workers=0) for f in folders]
    seconds = cpu(resource.RUSAGE_SELF) + cpu(resource.RUSAGE_CHILDREN) - before
    base, query = (bits([codes[name] for name in sorted(codes)]) for codes in encoded)
    return distances(query, base), seconds


def imagededup_cnn(folders, weights):
    import torch
    import torchvision
    from imagededup.methods import CNN
    from imagededup.utils import CustomModel
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    network = torchvision.models.mobilenet_v2()
    network.load_state_dict({k: v.float() for k, v in load_file(weights).items()}, strict=False)
    network = torch.nn.Sequential(
        network.features, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    ).eval()
    look = torchvision.transforms.Compose([
        torchvision.transforms.Resize(256),
        torchvision.transforms.CenterCrop(224),
        torchvision.transforms.ToTensor(),
        torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    method = CNN(verbose=False, model_config=CustomModel(name="mobilenet_v2", model=network, transform=look))
    before = cpu(resource.RUSAGE_SELF)
    encoded = [method.encode_images(str(f), num_enc_workers=0) for f in folders]
    seconds = cpu(resource.RUSAGE_SELF) - before
    base, query = (numpy.stack([codes[n].ravel() for n in sorted(codes)]) for codes in encoded)
    base, query = (x / numpy.linalg.norm(x, axis=1, keepdims=True) for x in (base, query))
    return 1 - query @ base.T, seconds


def judged(distance, truth, half, threshold):
    """Found rightly, found wrongly, and how many copies there were."""
    nearest = distance.argmin(axis=1)
    named = distance[numpy.arange(len(nearest)), nearest] <= threshold
    of_half = numpy.array([row["half"] == half for row in truth])
    source = numpy.array([row["number"] for row in truth])
    measured = of_half & numpy.array([row["kind"] != "letterbox" for row in truth])
    right = named & (nearest == source)
    return measured & right, measured & named & ~right, measured & (source >= 0)


def chosen(distance, truth):
    """The threshold with the most recall at the bar, on half a."""
    best, most = -1.0, -1
    for threshold in numpy.unique(distance.min(axis=1)):
        right, wrong, _ = (x.sum() for x in judged(distance, truth, "a", threshold))
        if right + wrong and right / (right + wrong) >= BAR and right > most:
            best, most = threshold, right
    return best


def tell(name, distance, truth, threshold, seconds):
    right, wrong, there = judged(distance, truth, "b", threshold)
    found, false, copies = right.sum(), wrong.sum(), there.sum()
    print(f"{name:24} recall {found / copies:.3f}  precision {found / max(found + false, 1):.4f}  "
          f"({found} right, {false} wrong of {copies})  threshold {threshold:.3f}  "
          f"{seconds:.1f} s CPU")
    kinds = defaultdict(lambda: [0, 0])
    nearest = distance.argmin(axis=1)
    for n, row in enumerate(truth):
        if row["half"] == "b":
            named = distance[n, nearest[n]] <= threshold
            kinds[row["kind"]][0] += named and (nearest[n] == row["number"] or row["number"] < 0)
            kinds[row["kind"]][1] += 1
    print("    " + ", ".join(f"{kind} {a}/{b}" for kind, (a, b) in kinds.items()))
    return found / copies


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--set", type=pathlib.Path, required=True)
    arguments.add_argument("--prepare", required=True)
    arguments.add_argument("--weights", help="without it, no CNN")
    arguments.add_argument("--logits", help="graph's example, for embeddings as the last judge")
    arguments.add_argument("--phash", type=int, default=PHASH, help="bits of 64")
    arguments.add_argument("--pdq", type=int, default=PDQ, help="bits of 256")
    given = arguments.parse_args()
    folders = given.set / "base", given.set / "query"
    numbers = {path.name: n for n, path in enumerate(sorted(folders[0].iterdir()))}
    with open(given.set / "truth.csv") as file:
        truth = sorted(csv.DictReader(file), key=lambda row: row["query"])
    for row in truth:
        row["number"] = numbers[row["source"]] if row["source"] else -1
    by, seconds = ours(folders, given.prepare)
    recall = tell("tintype", by(given.phash, given.pdq), truth, 256, seconds)
    print("    half a: phash, pdq at most -> recall, wrong")
    for phash, pdq in [
        (6, 31), (10, 31), (16, 31), (64, 31), (10, 40), (16, 44), (20, 44), (64, 44), (16, 47), (20, 47),
        (64, 47), (64, 52), (64, 60), (64, 64), (64, 72), (64, 80),
    ]:
        right, wrong, there = (x.sum() for x in judged(by(phash, pdq), truth, "a", 256))
        print(f"      {phash:3} {pdq:3} -> {right / there:.3f}, {wrong}")
    if given.logits:
        likeness = embedded(folders, given.prepare, given.logits, given.weights)
        distance = by(given.phash, given.pdq, likeness)
        tell("tintype with embeddings", distance, truth, 256, seconds)
        print("    half a: bits more, likeness at least -> recall, wrong")
        for more in (16, 24, 32, 40, 48):
            for least in (0.86, 0.88, 0.9, 0.92, 0.94):
                distance = by(given.phash, given.pdq, likeness, more, least)
                right, wrong, there = (x.sum() for x in judged(distance, truth, "a", 256))
                print(f"      {more:3} {least:.2f} -> {right / there:.3f}, {wrong}")
    peers = [("imagededup PHash", imagededup_phash(folders))]
    if given.weights:
        peers.append(("imagededup CNN", imagededup_cnn(folders, given.weights)))
    for name, (distance, peer_seconds) in peers:
        peer = tell(name, distance, truth, chosen(distance, truth), peer_seconds)
        print(f"    recall ours / {name}: {recall / peer:.2f}   CPU {name} / ours: "
              f"{peer_seconds / seconds:.1f}")


# The product's defaults.
PHASH, PDQ = 16, 47

if __name__ == "__main__":
    main()
