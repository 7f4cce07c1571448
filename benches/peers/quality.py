#!/usr/bin/env python3
"""Quality flags beside CleanVision's, on real photos and on ones spoilt by a seeded hand.

    cargo build --release -p processor --example prepare
    python3 benches/peers/quality.py --data DATA --prepare target/release/examples/prepare

Both judge the same files: the photos as they are, then a hundred of them and what was made of each. Flags are
CleanVision's, at its own thresholds, on its scores and on ours; F1 takes CleanVision's flags for the
truth. Prints each type's F1, how many it flags, and the files on which the two differ (with --list). What a
program can say of those is printed: of grey ones, whether any pixel of the file has a colour (Pillow); of
blurred ones, whether the hand blurred them. What a person said who looked at them is in quality_seen.md.
CleanVision's odd size compares with the other photos of its folder and is not among these. Needs
cleanvision and Pillow.
"""

import argparse
import json
import pathlib
import random
import subprocess
import tempfile
import time

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

# CleanVision's types and thresholds (a score below is an issue); ours has the same names.
THRESHOLDS = {
    "dark": 0.32,
    "light": 0.05,
    "blurry": 0.29,
    "low_information": 0.3,
    "odd_aspect_ratio": 0.35,
    "grayscale": 0.5,
}


def strip(picture, dice):
    height = round(picture.width * dice.uniform(0.1, 0.5))
    top = (picture.height - height) // 2
    return picture.crop((0, max(top, 0), picture.width, min(top + height, picture.height)))


def flat(picture, dice):
    colour = tuple(dice.randint(0, 255) for _ in range(3))
    plain = Image.new("RGB", picture.size, colour)
    ImageDraw.Draw(plain).line((0, 0, *picture.size), fill=(0, 0, 0), width=dice.randint(1, 9))
    return plain


SPOILT = {
    "whole": lambda p, _: p,
    "dark": lambda p, dice: ImageEnhance.Brightness(p).enhance(dice.uniform(0.05, 0.6)),
    "light": lambda p, dice: p.point([
        min(255, round(255 - (255 - v) * share)) for share in [dice.uniform(0, 0.6)] for v in range(256)
    ] * 3),
    "blurred": lambda p, dice: p.filter(
        ImageFilter.GaussianBlur(max(p.size) * dice.uniform(0.002, 0.03))
    ),
    "gray": lambda p, _: ImageOps.grayscale(p),
    "strip": strip,
    "flat": flat,
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=pathlib.Path, required=True)
    arguments.add_argument("--prepare", required=True)
    arguments.add_argument("--photos", type=int, default=100)
    arguments.add_argument("--seed", type=int, default=5)
    arguments.add_argument("--list", action="store_true")
    given = arguments.parse_args()
    dice = random.Random(given.seed)
    photos = sorted(p for p in (given.data / "photos").rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for n, path in enumerate(dice.sample(photos, min(given.photos, len(photos)))):
            picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            picture.thumbnail((2000, 2000))
            for kind, spoil in SPOILT.items():
                spoil(picture, dice).save(folder / f"{n:04}-{kind}.jpg", quality=90)
        for name, judged in (("photos as they are", given.data / "photos"), ("spoilt", folder)):
            print(name)
            began = time.process_time()
            theirs = cleanvision(judged)
            print(f"CleanVision {time.process_time() - began:.1f} s CPU")
            compare(judged, theirs, tintype(given.prepare, judged), given.list)


def relative(path, folder):
    return str(pathlib.Path(path).resolve().relative_to(folder.resolve()))


def cleanvision(folder):
    from cleanvision import Imagelab

    lab = Imagelab(data_path=str(folder), verbose=False)
    lab.find_issues({name: {} for name in THRESHOLDS}, n_jobs=1, verbose=False)
    rows = lab.issues.to_dict("index")
    return {relative(path, folder): row for path, row in rows.items()}


def tintype(program, folder):
    done = subprocess.run([program, folder], check=True, capture_output=True, text=True)
    photos = map(json.loads, done.stdout.splitlines())
    return {relative(photo["file"], folder): photo["scores"] for photo in photos if "scores" in photo}


def is_gray(path):
    red, green, blue = Image.open(path).convert("RGB").split()
    return all(ImageChops.difference(red, other).getbbox() is None for other in (green, blue))


# What else is known of a file that only one of the two flags.
KNOWN = {
    "grayscale": ("without a coloured pixel", is_gray),
    "blurry": ("blurred by hand", lambda path: path.stem.endswith("-blurred")),
}


def compare(folder, theirs, ours, listed):
    theirs = {file: row for file, row in sorted(theirs.items()) if file in ours}
    print(f"{len(theirs)} files")
    for name, threshold in THRESHOLDS.items():
        both, only_theirs, only_ours = 0, [], []
        for file, row in theirs.items():
            peer, own = bool(row[f"is_{name}_issue"]), ours[file][f"{name}_score"] < threshold
            both += peer and own
            if peer != own:
                (only_theirs if peer else only_ours).append(file)
        total = 2 * both + len(only_theirs) + len(only_ours)
        f1 = 2 * both / total if total else 1.0
        line = f"{name:17} F1 {f1:.3f}   both {both}, only CleanVision {len(only_theirs)}, only ours {len(only_ours)}"
        if name in KNOWN and only_ours:
            words, holds = KNOWN[name]
            line += f" (of these {sum(holds(folder / file) for file in only_ours)} {words})"
        print(line)
        if listed:
            for file in only_theirs + only_ours:
                peer, own = theirs[file][f"{name}_score"], ours[file][f"{name}_score"]
                print(f"    {file}  CleanVision {peer:.3f}  ours {own:.3f}")


if __name__ == "__main__":
    main()
