#!/usr/bin/env python3
"""From a phone's JPEG to the small picture: Tintype's steps beside libjpeg-turbo and libvips.

    apt-get install libvips42
    python3 -m venv scratch && scratch/bin/pip install numpy pillow simplejpeg pyvips
    cargo build --release -p processor --example stages
    scratch/bin/python benches/peers/stages.py --stages target/release/examples/stages --data DATA

On made 12 MP photos (crops of real ones at their own resolution, quality 90, 4:2:0) and on the same saved
progressively, one thread each, in turn for every photo and round; told are medians over photos of
the median paired ratio:

- decode: bytes to 341x256 RGB. libjpeg-turbo's scaled decode (simplejpeg, 1/8) and then the time of our own
  resampler, beside our header, decode and resize;
- thumbnail: bytes to the bytes of a small JPEG of quality 90. libvips' thumbnail_buffer, beside our
  header, decode, resize, colour and encode;
- the rest: all steps but decoding, beside decoding.
"""

import argparse
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ["VIPS_CONCURRENCY"] = "1"
import pyvips
import simplejpeg
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from measure import pictures


def made(data, scratch, count):
    """The photos, baseline and progressive, as files."""
    baseline, progressive = scratch / "12mp", scratch / "12mp-progressive"
    for folder in (baseline, progressive):
        folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        path = baseline / f"{n:03}.jpg"
        if not path.exists():
            path.write_bytes(pictures.phone_photo(data / "photos" / "phone-large", 77_000 + n))
        other = progressive / path.name
        if not other.exists():
            kept = io.BytesIO()
            Image.open(path).save(kept, "JPEG", quality=90, subsampling="4:2:0", progressive=True)
            other.write_bytes(kept.getvalue())
    return [(f.name, sorted(f.glob("*.jpg"))[:count]) for f in (baseline, progressive)]


def ours(program, path, rounds):
    ran = subprocess.run([program, "-n", str(rounds), path], check=True, capture_output=True, text=True)
    return json.loads(ran.stdout)["steps"]


def timed(work, rounds):
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


def turbo(jpeg):
    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    simplejpeg.decode_jpeg(jpeg, "RGB", min_height=-(-height // 8), min_width=-(-width // 8))


def vips(jpeg):
    pyvips.Image.thumbnail_buffer(jpeg, 341, height=256).jpegsave_buffer(Q=90)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stages", required=True)
    arguments.add_argument("--data", type=pathlib.Path, required=True)
    arguments.add_argument("--scratch", type=pathlib.Path, default=pathlib.Path("target/peers/made"))
    arguments.add_argument("--photos", type=int, default=8)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    print(f"libvips {'.'.join(str(pyvips.version(n)) for n in range(3))}, "
          f"simplejpeg {simplejpeg.__version__}")
    for name, paths in made(given.data, given.scratch, given.photos):
        rows = []
        for path in paths:
            jpeg = path.read_bytes()
            pairs = []
            for _ in range(given.rounds):
                steps = ours(given.stages, path, 7)
                peer, thumbnail = timed(lambda: turbo(jpeg), 7), timed(lambda: vips(jpeg), 7)
                front = steps["header"] + steps["decode"] + steps["resize"]
                small = front + steps["colour"] + steps["encode"]
                rest = sum(ms for step, ms in steps.items() if step != "decode")
                pairs.append({
                    "ours, to RGB ms": front, "libjpeg-turbo ms": peer + steps["resize"],
                    "ours, to JPEG ms": small, "libvips ms": thumbnail,
                    "libjpeg-turbo / ours": (peer + steps["resize"]) / front,
                    "libvips / ours": thumbnail / small,
                    "the rest / decode": rest / steps["decode"],
                    **{f"step {step} ms": ms for step, ms in steps.items()},
                })
            rows.append({key: statistics.median(pair[key] for pair in pairs) for key in pairs[0]})
        mean_bytes = sum(path.stat().st_size for path in paths) / len(paths)
        print(f"{name}: {len(paths)} photos of {mean_bytes / 1e6:.2f} MB, {given.rounds} rounds")
        for key in rows[0]:
            values = [row[key] for row in rows]
            print(f"  {key:24} {statistics.median(values):8.2f}   ({min(values):.2f} to {max(values):.2f})", flush=True)


if __name__ == "__main__":
    main()
