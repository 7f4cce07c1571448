"""Writes preprocess.json beside it: what torchvision and Pillow make of small pictures.

    pip install torch torchvision pillow && python3 preprocess.py

The test in src/input_spec/tests.rs draws the same pictures and expects the same numbers.
"""

import json
import pathlib

import torch
from PIL import Image
from torchvision import transforms

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def picture(width, height):
    image = Image.new("RGB", (width, height))
    image.putdata([
        tuple((x * x * 7 + y * 13 + x * y * (c + 3) + c * 85) % 256 for c in range(3))
        for y in range(height)
        for x in range(width)
    ])
    return image


cases = []
for width, height, resize, crop in [
    (17, 11, 8, 6), (11, 17, 8, 6), (5, 9, 8, 5), (8, 8, 8, 8), (8, 30, 8, 5), (31, 8, 8, 5),
    (100, 9, 8, 7), (3, 200, 8, 7), (1, 1, 4, 4), (64, 48, 9, 6), (333, 251, 12, 9), (40, 13, 13, 10),
]:
    cut = transforms.Compose([
        transforms.Resize(resize, transforms.InterpolationMode.BILINEAR),
        transforms.CenterCrop(crop),
    ])(picture(width, height))
    values = transforms.Compose([
        transforms.ToTensor(), transforms.Normalize(MEAN, STD),
    ])(cut)
    cases.append({
        "width": width, "height": height, "resize": resize, "crop": crop,
        "bytes": list(cut.tobytes()),
        # Channels first; the bits, so that nothing is lost on the way through JSON.
        "bits": values.contiguous().view(torch.int32).flatten().tolist(),
    })

path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")
