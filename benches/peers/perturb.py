#!/usr/bin/env python3
"""Makes a labelled set of edited copies and hard negatives from real photos, seeded.

    python3 benches/peers/perturb.py --data FOLDER --out FOLDER [--photos 160] [--seed 5]

Below --out: `base/` holds unedited photos, `query/` what is asked about: edited copies of some of
them, and look-alikes of others (another view of the same object, another photo of the same class).
`truth.csv` names for each query its kind, its source in `base` (empty for a look-alike) and a half:
thresholds are chosen on half `a` and told on half `b`; no source is in both. Needs Pillow.
"""

import argparse
import csv
import pathlib
import random

from PIL import Image, ImageDraw, ImageEnhance, ImageOps

TURNS = {
    "turn 90": Image.Transpose.ROTATE_90,
    "turn 180": Image.Transpose.ROTATE_180,
    "turn 270": Image.Transpose.ROTATE_270,
}


def cropped(share):
    def crop(picture, dice):
        width, height = (round(side * (1 - share)) for side in picture.size)
        x = dice.randint(0, picture.width - width)
        y = dice.randint(0, picture.height - height)
        return picture.crop((x, y, x + width, y + height))

    return crop


def scaled(factor):
    def scale(picture, _):
        size = tuple(max(1, round(side * factor)) for side in picture.size)
        return picture.resize(size, Image.Resampling.LANCZOS)

    return scale


def with_logo(picture, dice):
    """A disc and a bar of one colour, a fifth of the short side, in a corner."""
    picture = picture.copy()
    side = min(picture.size) // 5
    margin = side // 4
    x = dice.choice([margin, picture.width - side - margin])
    y = dice.choice([margin, picture.height - side - margin])
    draw = ImageDraw.Draw(picture)
    colour = tuple(dice.randint(0, 255) for _ in range(3))
    draw.ellipse((x, y, x + side, y + side), fill=colour)
    draw.rectangle((x, y + side * 2 // 5, x + side, y + side * 3 // 5), fill=(255, 255, 255))
    return picture


def letterboxed(picture, _):
    """Black bars that make it a quarter taller."""
    bar = picture.height // 8
    return ImageOps.expand(picture, (0, bar, 0, bar), (0, 0, 0))


# Kind: the edit and the JPEG quality it is saved at.
EDITS = {
    "jpeg 40": (lambda p, _: p, 40),
    "jpeg 60": (lambda p, _: p, 60),
    "jpeg 80": (lambda p, _: p, 80),
    "jpeg 95": (lambda p, _: p, 95),
    "scale 0.25": (scaled(0.25), 90),
    "scale 0.5": (scaled(0.5), 90),
    "scale 1.5": (scaled(1.5), 90),
    "brightness -15 %": (lambda p, _: ImageEnhance.Brightness(p).enhance(0.85), 90),
    "brightness +15 %": (lambda p, _: ImageEnhance.Brightness(p).enhance(1.15), 90),
    "crop 5 %": (cropped(0.05), 90),
    "crop 10 %": (cropped(0.10), 90),
    "logo": (with_logo, 90),
    "mirror": (lambda p, _: ImageOps.mirror(p), 90),
    **{name: (lambda p, _, turn=turn: p.transpose(turn), 90) for name, turn in TURNS.items()},
}
# Told beside the set, not in its figure.
EXTRA = {"letterbox": (letterboxed, 90)}


# Caltech 101 has copies of its own, mirrored ones among them. These were found by fingerprint and
# seen by eye to be other photos of the set, or edits of them; they would make a right answer wrong.
TWINS = {
    *(f"Leopards/image_{n:04}.jpg" for n in (77, 78, 93, 96)),
    *(f"buddha/image_{n:04}.jpg" for n in (8, 28)),
    "starfish/image_0013.jpg",
}


def opened(path):
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def classes(data):
    photos = data / "photos"
    for name in ("trashnet", "caltech101"):
        for folder in sorted((photos / name).iterdir()):
            if folder.is_dir():
                yield sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    # One photo a class: sources, without class mates.
    yield from ([p] for p in sorted((photos / "imagenet").rglob("*.jp*g")))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=pathlib.Path, required=True)
    arguments.add_argument("--out", type=pathlib.Path, required=True)
    arguments.add_argument("--photos", type=int, default=160, help="how many are edited")
    arguments.add_argument("--seed", type=int, default=5)
    given = arguments.parse_args()
    dice = random.Random(given.seed)
    base, query = given.out / "base", given.out / "query"
    for folder in (base, query):
        folder.mkdir(parents=True, exist_ok=True)
    rows = []

    def keep(path):
        name = f"{path.parent.name}-{path.stem}.jpg"
        if not (base / name).exists():
            (base / name).write_bytes(path.read_bytes())
        return name

    def ask(picture, kind, source, half, quality):
        name = f"{len(rows):05}.jpg"
        picture.save(query / name, quality=quality)
        rows.append({"query": name, "kind": kind, "source": source, "half": half})

    groups = [
        [path for path in group if f"{path.parent.name}/{path.name}" not in TWINS]
        for group in classes(given.data)
    ]
    # The last tenth of each class is never in the base: its photos are look-alikes.
    mates = [path for group in groups for path in group[len(group) - len(group) // 10 :]]
    kept = [path for group in groups for path in group[: len(group) - len(group) // 10]]
    for path in kept:
        keep(path)
    for n, path in enumerate(mates):
        ask(opened(path), "class mate", "", "ab"[n % 2], 90)
    views = sorted((given.data / "neardup" / "ukbench-80x4").iterdir())
    for n, folder in enumerate(view for view in views if view.is_dir()):
        first, *others = sorted(folder.glob("*.jpg"))
        keep(first)
        for other in others:
            ask(opened(other), "other view", "", "ab"[n % 2], 90)
    for n, path in enumerate(dice.sample(kept, min(given.photos, len(kept)))):
        picture, source = opened(path), keep(path)
        for kind, (edit, quality) in {**EDITS, **EXTRA}.items():
            ask(edit(picture, dice), kind, source, "ab"[n % 2], quality)
    with open(given.out / "truth.csv", "w", newline="") as file:
        table = csv.DictWriter(file, ["query", "kind", "source", "half"])
        table.writeheader()
        table.writerows(rows)
    print(f"{len(list(base.iterdir()))} photos in the base, {len(rows)} queries")


if __name__ == "__main__":
    main()
