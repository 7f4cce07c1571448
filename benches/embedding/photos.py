"""Photos as the processor makes them, and the features that `graph` computes of them."""

import io
import json
import os
import pathlib
import struct
import subprocess

import numpy
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("TINTYPE_TEST_DATA", ROOT.parent / "shared" / "data"))


def prepared(program, folder, out):
    """The processor's finished JPEG of every photo below `folder/CLASS/`, and its class."""
    out.mkdir(parents=True, exist_ok=True)
    run = subprocess.run([program, "--out", out, folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    photos = []
    for number, line in enumerate(run.stdout.splitlines(), 1):
        told = json.loads(line)
        if "phash" in told:
            photos.append((out / f"{number}.jpg", pathlib.Path(told["file"]).parent.name))
    return photos


def features(program, weights, side, jpegs, architecture="mobilenet_v2"):
    """One row for each JPEG, by trainer/graph's example `logits --features`."""
    sent = io.BytesIO()
    for path in jpegs:
        picture = Image.open(path).convert("RGB")
        sent.write(struct.pack("<II", *picture.size) + picture.tobytes())
    run = subprocess.run([program, architecture, weights, str(side), "--features"], input=sent.getvalue(),
                         stdout=subprocess.PIPE, check=True)
    return numpy.frombuffer(run.stdout, "<f4").reshape(len(jpegs), -1)
