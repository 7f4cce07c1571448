"""Compares the networks of `trainer/graph` with torchvision's on real ImageNet weights and photos.

    pip install torch torchvision pillow safetensors numpy
    cargo build --release -p graph --example logits
    python3 benches/reference/logits.py --data ../shared/data --logits target/release/examples/logits

Every photo is decoded once, by Pillow. From there the two sides share nothing: resizing, cropping,
normalising, folding, computing. `--golden` instead writes trainer/graph/tests/data/golden.json: torchvision's
logits of one drawn picture, which the crate's own test expects.

Ends with 1 if a logit differs by more than 1e-4 of the largest of its photo, or a top-1 differs.
"""

import argparse
import json
import pathlib
import struct
import subprocess
import sys

import numpy
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file

ARCHITECTURES = ["mobilenet_v2", "resnet50"]
LIMIT = 1e-4

root = pathlib.Path(__file__).resolve().parents[2]
transform = torchvision.transforms.Compose([
    torchvision.transforms.Resize(256),
    torchvision.transforms.CenterCrop(224),
    torchvision.transforms.ToTensor(),
    torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])


def network(name, data):
    net = getattr(torchvision.models, name)()
    weights = {k: v.float() for k, v in load_file(data / f"weights/{name}.safetensors").items()}
    missing, unexpected = net.load_state_dict(weights, strict=False)
    assert all(k.endswith("num_batches_tracked") for k in missing) and not unexpected, (missing, unexpected)
    return net.eval()


def torch_logits(net, photos, dtype=torch.float32):
    net = net.to(dtype)
    with torch.no_grad():
        return numpy.stack([net(transform(p)[None].to(dtype))[0].double().numpy() for p in photos])


def drawn():
    """The picture of the test: two gradients and a chequer of 16 pixels."""
    width, height = 300, 260
    image = Image.new("RGB", (width, height))
    image.putdata([
        (x * 255 // width, y * 255 // height, 255 * ((x // 16 + y // 16) % 2))
        for y in range(height) for x in range(width)
    ])
    return image


def golden(data):
    logits = {n: [round(v, 5) for v in torch_logits(network(n, data), [drawn()], torch.float64)[0].tolist()]
              for n in ARCHITECTURES}
    path = root / "trainer/graph/tests/data/golden.json"
    path.write_text(json.dumps(logits, separators=(",", ":")) + "\n")
    print(f"{path}: {path.stat().st_size} bytes")


def compare(data, executable):
    folder = data / "photos/imagenet"
    index = {}
    for line in (folder / "class_index.tsv").read_text().splitlines():
        number, synset, *_ = line.split("\t")
        index[synset] = int(number)
    paths = sorted(p for p in folder.glob("*/*") if p.is_file())
    photos = [Image.open(p).convert("RGB") for p in paths]
    labels = numpy.array([index[p.parent.name] for p in paths])
    stream = b"".join(struct.pack("<II", *p.size) + p.tobytes() for p in photos)

    good = True
    print(f"{len(photos)} photos; torch {torch.__version__}, torchvision {torchvision.__version__}")
    print("architecture   max |logit|  max diff  relative  torch f32 to f64  same top-1   top-1 of ours / torch")
    for name in ARCHITECTURES:
        net = network(name, data)
        expected = torch_logits(net, photos)
        exact = torch_logits(net, photos[:8], torch.float64)
        command = [executable, name, data / f"weights/{name}.safetensors"]
        found = subprocess.run(command, input=stream, stdout=subprocess.PIPE, check=True).stdout
        found = numpy.frombuffer(found, "<f4").reshape(expected.shape).astype(float)
        difference = numpy.abs(found - expected)
        relative = (difference.max(1) / numpy.abs(expected).max(1)).max()
        same = (found.argmax(1) == expected.argmax(1)).sum()
        ours, theirs = (found.argmax(1) == labels).mean(), (expected.argmax(1) == labels).mean()
        print(f"{name:14} {numpy.abs(expected).max():11.2f}  {difference.max():8.1e}  {relative:8.1e}"
              f"  {numpy.abs(expected[:8] - exact).max():16.1e}  {same:4} of {len(photos)}   {ours:.3f} / {theirs:.3f}")
        good &= relative < LIMIT and same == len(photos)
    return good


parser = argparse.ArgumentParser()
parser.add_argument("--data", type=pathlib.Path, default=root.parent / "shared/data")
parser.add_argument("--logits", default=root / "target/release/examples/logits")
parser.add_argument("--golden", action="store_true")
parser.add_argument("--only", help="one architecture")
arguments = parser.parse_args()
if arguments.only:
    ARCHITECTURES = [arguments.only]
if arguments.golden:
    golden(arguments.data)
else:
    sys.exit(0 if compare(arguments.data, arguments.logits) else 1)
