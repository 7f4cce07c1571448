#!/usr/bin/env python3
"""Holds the scaled JPEG decoder against libjpeg-turbo.

    python3 -m venv scratch && scratch/bin/pip install simplejpeg numpy
    cargo build --release -p scaled-jpeg --examples
    scratch/bin/python benches/peers/jpeg_differential.py same PHOTOS...
    scratch/bin/python benches/peers/jpeg_differential.py time PHOTOS...

`same` decodes every photo (files, or folders searched for *.jpg) at 1/8 by both
and compares the luma byte for byte; exit status 1 if any differs. `time` decodes to
RGB by both in turn, at 1/8 or as --scale says, and prints the least milliseconds
of processor time per decode and the median of the ratios, round by round.
simplejpeg is libjpeg-turbo with its SIMD code, called on bytes in memory; ours is
charged with its whole process: start, reading the file, first use of buffers.
"""

import argparse
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import simplejpeg


def photos(arguments):
    for argument in map(pathlib.Path, arguments):
        if argument.is_dir():
            found = sorted(argument.rglob("*"))
            yield from (path for path in found if path.suffix.lower() in (".jpg", ".jpeg"))
        else:
            yield argument


def turbo(jpeg, colour, divisor):
    """Decodes at a scale: the smallest that still has these dimensions."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    smallest = {"min_height": -(-height // divisor), "min_width": -(-width // divisor)}
    return simplejpeg.decode_jpeg(jpeg, colour, **smallest)


def read_pgm(path):
    _, size, _, samples = path.read_bytes().split(b"\n", 3)
    width, height = map(int, size.split())
    return numpy.frombuffer(samples, numpy.uint8).reshape(height, width)


def compare(paths, examples):
    same = differ = refused = 0
    with tempfile.TemporaryDirectory() as folder:
        pixels, luma = pathlib.Path(folder, "out.ppm"), pathlib.Path(folder, "luma.pgm")
        for path in paths:
            try:
                theirs = turbo(path.read_bytes(), "GRAY", 8)[..., 0]
            except (ValueError, KeyError) as error:
                theirs = error
            ran = subprocess.run(
                [examples / "decode", path, "8", pixels, luma], capture_output=True, text=True
            )
            if ran.returncode or isinstance(theirs, Exception):
                reason = ran.stderr.strip() or "decoded"
                print(f"{path}: ours {reason}; theirs {theirs if isinstance(theirs, Exception) else 'decoded'}")
                refused += 1
            elif numpy.array_equal(read_pgm(luma), theirs):
                same += 1
            else:
                print(f"{path}: the luma differs")
                differ += 1
    print(f"luma at 1/8: {same} the same, {differ} different, {refused} not decoded by both")
    return differ == 0


def time_ours(path, examples, divisor, decodes):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [examples / "time", "-n", str(decodes - 1), "-s", str(divisor), path]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return spent * 1e3 / decodes


def time_theirs(jpeg, divisor, decodes):
    start = time.thread_time()
    for _ in range(decodes):
        turbo(jpeg, "RGB", divisor)
    return (time.thread_time() - start) * 1e3 / decodes


def measure(paths, examples, divisor, rounds):
    print("ours ms  theirs ms  theirs / ours")
    all_ratios = []
    for path in paths:
        jpeg = path.read_bytes()
        ours, theirs = [], []
        time_theirs(jpeg, divisor, 1)
        for _ in range(rounds):
            ours.append(time_ours(path, examples, divisor, 40))
            theirs.append(time_theirs(jpeg, divisor, 10))
        ratio = statistics.median(t / o for t, o in zip(theirs, ours))
        all_ratios.append(ratio)
        print(f"{min(ours):7.2f}  {min(theirs):9.2f}  {ratio:13.2f}  {path.name}", flush=True)
    print(f"median of {len(all_ratios)} photos: {statistics.median(all_ratios):.2f}, lowest {min(all_ratios):.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["same", "time"])
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--examples", default="target/release/examples", help="where the built examples are")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--scale", type=int, choices=[8, 4, 2], default=8)
    chosen = parser.parse_args()
    examples = pathlib.Path(chosen.examples)
    paths = list(photos(chosen.photos))
    if not paths:
        sys.exit("no photos given")
    if chosen.what == "time":
        measure(paths, examples, chosen.scale, chosen.rounds)
    elif not compare(paths, examples):
        sys.exit(1)


if __name__ == "__main__":
    main()
