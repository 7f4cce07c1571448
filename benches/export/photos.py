"""Photos as the networks take them: short side to 256, middle 224 x 224, RGB bytes, one
photo after the other. `photos.py OUT imagenet CLASS_INDEX` also writes each photo's class.

    photos.py OUT FOLDER [CLASS_INDEX] [--most N]
"""

import argparse
import pathlib

import numpy
from PIL import Image


def prepare(path):
    picture = Image.open(path).convert("RGB")
    scale = 256 / min(picture.size)
    size = [max(256, round(side * scale)) for side in picture.size]
    picture = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
    return numpy.asarray(picture.crop((left, top, left + 224, top + 224)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("class_index", type=pathlib.Path, nargs="?")
    parser.add_argument("--most", type=int)
    arguments = parser.parse_args()
    suffixes = {".jpg", ".jpeg", ".png"}
    paths = sorted(p for p in arguments.folder.rglob("*") if p.suffix.lower() in suffixes)
    if arguments.most:
        paths = paths[:: max(1, len(paths) // arguments.most)][: arguments.most]
    arguments.out.with_suffix(".rgb").write_bytes(b"".join(prepare(p).tobytes() for p in paths))
    if arguments.class_index:
        lines = arguments.class_index.read_text().splitlines()
        classes = {row[1]: row[0] for row in (line.split("\t") for line in lines)}
        text = "".join(f"{classes[p.parent.name]}\n" for p in paths)
        arguments.out.with_suffix(".classes").write_text(text)
    print(len(paths), "photos")


if __name__ == "__main__":
    main()
