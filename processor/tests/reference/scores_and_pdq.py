"""The numbers in picture/src/scores/tests.rs and src/prepare/pdq/tests.rs, from
independent implementations: CleanVision 0.3.7 with Pillow 13.0, and pdqhash 0.2.

    pip install cleanvision==0.3.7 pillow==13.0.0 pdqhash
    python scores_and_pdq.py
"""

import numpy as np
import pdqhash
from cleanvision.issue_managers.image_property import (
    BlurrinessProperty,
    calc_entropy,
    calc_percentile_brightness,
)
from PIL import Image


def picture(name, width, height):
    y, x = np.mgrid[0:height, 0:width]
    if name == "shades":
        r, g, b = x * 255 // (width - 1), y * 255 // (height - 1), (x * y) % 256
    elif name == "checks":
        v = ((x // 9 + y // 7) % 2) * 150 + 30
        r, g, b = v, v + x // 8, v // 2
    elif name == "grain":
        v = (x * 7919 + y * 104729 + (x * y) * 31) % 97
        r, g, b = v + 20, v + 60, 200 - v
    elif name == "night":
        v = ((x * 13 + y * 29) % 31) // 3
        r, g, b = v, v // 2, v + 2
    elif name == "rings":
        v = (x * x + 2 * y * y + x * y) // 397 % 211
        r, g, b = v, 255 - v, v // 2 + 60
    return np.stack([r, g, b], axis=2).astype("uint8")


for name, width, height in [
    ("shades", 200, 150),
    ("checks", 250, 180),
    ("grain", 131, 97),
    ("night", 160, 240),
    ("checks", 64, 48),
    ("rings", 250, 180),
]:
    pixels = picture(name, width, height)
    image = Image.fromarray(pixels)
    low, high = calc_percentile_brightness(image, [5, 99])
    raw = BlurrinessProperty().calculate(image)
    edges = 1 - np.exp(-raw["blurriness"] * 0.01)
    spread = 1 - np.exp(-raw["blurriness_grayscale_std"] * 0.01)
    blurry = min(edges + (spread if spread > 0.18 else 0), 1)
    information = min(0.1 * calc_entropy(image), 1)
    bits, quality = pdqhash.compute(pixels)
    pdq = "".join(f"{byte:02x}" for byte in np.packbits(bits))
    print(name, width, height)
    print(f"  dark {high:.4f} light {1 - low:.4f} blurry {blurry:.4f} information {information:.4f}")
    print(f"  pdq {pdq} quality {quality}")
