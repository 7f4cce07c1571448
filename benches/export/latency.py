"""LiteRT's time per photo for several `.tflite` files, in one interleaved run on one thread:
one round is one photo through each file in turn, so that all share the machine's moods.

    latency.py [--rounds N] FILE...
"""

import argparse
import pathlib
import statistics
import time

import numpy
from ai_edge_litert.interpreter import Interpreter


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    runs = []
    for path in arguments.files:
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
        (image,) = interpreter.get_input_details()
        noise = numpy.random.default_rng(1).integers(0, 256, image["shape"], numpy.uint8)
        scale = 1 if image["dtype"] == numpy.uint8 else 255
        interpreter.set_tensor(image["index"], (noise / scale).astype(image["dtype"]))
        for _ in range(5):
            interpreter.invoke()
        runs.append((path, interpreter, []))
    for _ in range(arguments.rounds):
        for _, interpreter, times in runs:
            started = time.perf_counter()
            interpreter.invoke()
            times.append((time.perf_counter() - started) * 1e3)
    first = statistics.median(runs[0][2])
    for path, _, times in runs:
        median, best = statistics.median(times), min(times)
        print(
            f"{path.parent.name + '/' + path.name:50} median {median:6.2f} ms"
            f"  best {best:6.2f} ms  {median / first:5.2f} of the first"
            f"  {path.stat().st_size:9} bytes"
        )


if __name__ == "__main__":
    main()
