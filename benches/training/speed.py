"""Seconds of a training step, of a frozen forward, and of the features that `fast` learns from (`folded`):
this crate beside PyTorch, in turns.

    cargo build --release -p model --example step_speed
    python3 benches/training/speed.py target/release/examples/step_speed --rounds 5

Both use as many threads as `--threads` says. The answer is a table of medians in photos
per second and their ratio (above 1: this crate is faster). torch and torchvision are from
PyPI. `--device cuda` and `cuda-bf16` compare on a GPU, PyTorch with channels_last, with
autocast for bf16, and also compiled; `benches/training/cuda` runs that table.
"""

import argparse
import os
import statistics
import subprocess
import time

import torch
import torchvision


def cpu_seconds(process):
    """What a process has used of all processors."""
    fields = open(f"/proc/{process}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Ours:
    def __init__(self, program, work, network, side, photos, device, threads):
        self.child = subprocess.Popen(
            [program, work, network, str(side), str(photos), device], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "RAYON_NUM_THREADS": str(threads)})

    def __call__(self, clock):
        before = cpu_seconds(self.child.pid)
        self.child.stdin.write("go\n")
        self.child.stdin.flush()
        wall = float(self.child.stdout.readline())
        return wall if clock == "wall" else cpu_seconds(self.child.pid) - before

    def close(self):
        self.child.stdin.close()
        self.child.wait()


class Theirs:
    def __init__(self, work, network, side, photos, device, channels_last, compiled=False):
        self.cuda, self.bf16 = device.startswith("cuda"), device.endswith("bf16")
        place = "cuda" if self.cuda else "cpu"
        self.network = getattr(torchvision.models, network)(num_classes=6).to(place)
        self.images = torch.randn(photos, 3, side, side, device=place)
        if channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)
            self.images = self.images.to(memory_format=torch.channels_last)
        self.labels = torch.arange(photos, device=place) % 6
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-4, momentum=0.9)
        self.frozen = work in ("frozen", "folded")
        if self.frozen:
            self.network.eval()
        self.forward = torch.compile(self.network) if compiled else self.network

    def __call__(self, clock):
        clock = time.perf_counter if clock == "wall" else time.process_time
        start = clock()
        with torch.autocast("cuda", torch.bfloat16, enabled=self.bf16):
            if self.frozen:
                with torch.inference_mode():
                    result = self.forward(self.images)
            else:
                self.optimizer.zero_grad()
                result = torch.nn.functional.cross_entropy(self.forward(self.images), self.labels)
        if not self.frozen:
            result.backward()
            self.optimizer.step()
        result.sum().item()
        return clock() - start

    def close(self):
        del self.network, self.forward, self.optimizer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall",
                        help="cpu: seconds of processor, for a machine with other work; one thread")
    parser.add_argument("--unfused", action="store_true", help="burn's own CPU layers, too")
    parser.add_argument("--cases", default="step:mobilenet_v2:224:16,step:mobilenet_v2:224:32,"
                        "frozen:mobilenet_v2:224:16,folded:mobilenet_v2:224:16,folded:mobilenet_v2:224:32")
    options = parser.parse_args()
    if options.clock == "cpu":
        options.threads = 1
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, {options.rounds} rounds in turns; "
          f"median photos per {options.clock} second (quickest)")
    for case in options.cases.split(","):
        work, network, side, photos = case.split(":")
        side, photos = int(side), int(photos)
        runners = {"ours": Ours(options.program, work, network, side, photos, options.device,
                                options.threads),
                   "torch": Theirs(work, network, side, photos, options.device, False),
                   "torch channels_last": Theirs(work, network, side, photos, options.device, True)}
        if options.device.startswith("cuda"):
            runners["torch compiled"] = Theirs(work, network, side, photos, options.device, True, True)
        if options.unfused:
            runners["burn's layers"] = Ours(options.program, work, network, side, photos, "unfused",
                                            options.threads)
        seconds = {name: [] for name in runners}
        for turn in range(options.rounds + 1):
            for name, runner in runners.items():
                taken = runner(options.clock)
                if turn:
                    seconds[name].append(taken)
        for runner in runners.values():
            runner.close()
        median = {name: photos / statistics.median(taken) for name, taken in seconds.items()}
        peer = max(rate for name, rate in median.items() if name.startswith("torch"))
        rates = ", ".join(f"{name} {rate:.1f} ({photos / min(seconds[name]):.1f})"
                          for name, rate in median.items())
        print(f"{case}: {rates}; ours / best torch {median['ours'] / peer:.2f}", flush=True)


if __name__ == "__main__":
    main()
