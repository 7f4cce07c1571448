"""Time per photo on one thread: `trainer/graph` beside onnxruntime, in turns.

    pip install torch torchvision onnx onnxruntime numpy
    cargo build --release -p graph --example speed
    python3 benches/reference/speed.py --speed target/release/examples/speed [--other NAME=PROGRAM ...]

Each round takes one sample of every runtime in turn; a sample is about 0.1 s of runs, and its time is that on
the processor, not on the clock. The table has medians and the median of the ratios within a round. `--other`
names a program that is called with an ONNX file and a side, and answers each line with milliseconds, as
`speed --serve` does. Weights are random: time does not depend on them.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"
import numpy
import onnxruntime
import torch
import torchvision

CASES = [("mobilenet_v2", 224), ("mobilenet_v2", 160), ("mobilenet_v2", 128),
         ("mobilenet_v2_0.35", 224), ("mobilenet_v2_0.35", 160), ("resnet50", 224)]


def onnx_file(folder, name, side):
    base, _, width = name.partition("_0")
    net = getattr(torchvision.models, base)(**({"width_mult": float("0" + width)} if width else {})).eval()
    path = f"{folder}/{name}-{side}.onnx"
    torch.onnx.export(net, torch.zeros(1, 3, side, side), path, dynamo=False)
    return path


class Ort:
    def __init__(self, path, side):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.photo = {self.session.get_inputs()[0].name: numpy.random.rand(1, 3, side, side).astype("f")}
        self.num_runs = 1
        self.num_runs = int(100 / self.sample()) + 1

    def sample(self):
        begun = time.thread_time()
        for _ in range(self.num_runs):
            self.session.run(None, self.photo)
        return (time.thread_time() - begun) * 1e3 / self.num_runs


class Served:
    def __init__(self, *command):
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def sample(self):
        print(file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


parser = argparse.ArgumentParser()
parser.add_argument("--speed", default="target/release/examples/speed")
parser.add_argument("--other", action="append", default=[])
parser.add_argument("--rounds", type=int, default=15)
arguments = parser.parse_args()
others = dict(other.split("=", 1) for other in arguments.other)
print(f"onnxruntime {onnxruntime.__version__}; milliseconds per photo, one thread, median of {arguments.rounds}")
with tempfile.TemporaryDirectory() as folder:
    for name, side in CASES:
        path = onnx_file(folder, name, side)
        runtimes = {"graph": Served(arguments.speed, name, side, "--serve"), "onnxruntime": Ort(path, side)}
        runtimes |= {other: Served(program, path, side) for other, program in others.items()}
        rounds = [{key: runtime.sample() for key, runtime in runtimes.items()} for _ in range(arguments.rounds)]
        line = f"{name:18} {side}"
        for key in runtimes:
            line += f"   {key} {statistics.median(r[key] for r in rounds):7.2f}"
            if key != "graph":
                line += f" (ours / it {statistics.median(r['graph'] / r[key] for r in rounds):.2f})"
        print(line, flush=True)
        for runtime in runtimes.values():
            if isinstance(runtime, Served):
                runtime.process.kill()
