#!/usr/bin/env python3
"""One command for all comparisons: installs the peers, runs each beside Tintype, writes a table.

    cargo build --release && cargo build --release --workspace --examples
    apt-get install libvips42
    python3 benches/peers/compare.py --data ../shared/data --built target/release/examples

Peers come from PyPI into a virtual environment in --scratch, nothing else is touched. The report is
printed and kept in SCRATCH/report.txt: what ran, versions, hardware, and every line that the
comparisons print. `--only NAME` runs one. Exit status 1 if one failed; the others still run.
"""

import argparse
import os
import pathlib
import platform
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
PEERS = [
    "numpy", "pillow", "faiss-cpu", "imagededup", "cleanvision", "safetensors", "simplejpeg", "pyvips",
    "czkawka", "scikit-learn", "cleanlab",
]
# It wants other versions of what the others need.
PEERS_APART = ["img2dataset", "pyarrow", "pillow", "numpy"]


def comparisons(given, scratch):
    """Name, and the words of its command after python."""
    photos = scratch / "set"
    built, data = given.built, given.data
    yield "search", ["search.py", "--search", built / "search"]
    yield "perturb", ["perturb.py", "--data", data, "--out", photos]
    yield "duplicates", [
        "duplicates.py", "--set", photos, "--prepare", built / "prepare",
        "--weights", data / "weights" / "mobilenet_v2.safetensors", "--logits", built / "logits",
    ]
    yield "stages", ["stages.py", "--stages", built / "stages", "--data", data, "--scratch", scratch / "made"]
    yield "folder", ["folder.py", "--prepare", built / "prepare", "--copies", 5, scratch / "made" / "12mp"]
    yield "clusters", ["clusters.py", "--bin", built, "--data", data]
    yield "labels", [
        "../embedding/flips.py", "--bin", built, "--logits", built / "logits",
        "--weights", data / "weights" / "mobilenet_v2.safetensors",
    ]
    yield "img2dataset", [
        "img2dataset.py", "--tintype", built.parent / "tintype", "--data", data, "--scratch", scratch,
        "--weights", data / "weights" / "mobilenet_v2.safetensors",
    ]
    yield "quality", ["quality.py", "--data", data, "--prepare", built / "prepare"]
    yield "jpeg", [
        "jpeg_differential.py", "time", "--examples", built, data / "photos" / "phone-large",
    ]


def processor():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=pathlib.Path, required=True)
    arguments.add_argument("--built", type=pathlib.Path, required=True)
    arguments.add_argument("--scratch", type=pathlib.Path, default=pathlib.Path("target/peers"))
    arguments.add_argument("--only", choices=[
        "search", "duplicates", "quality", "jpeg", "stages", "folder", "clusters", "labels", "img2dataset",
    ])
    given = arguments.parse_args()
    scratch = given.scratch.resolve()
    given.data, given.built = given.data.resolve(), given.built.resolve()
    python = scratch / "python" / "bin" / "python"
    if not python.exists():
        venv.create(scratch / "python", with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    apart = scratch / "python-img2dataset" / "bin" / "python"
    if not apart.exists():
        venv.create(apart.parent.parent, with_pip=True)
    subprocess.run([apart, "-m", "pip", "install", "--quiet", *PEERS_APART], check=True)
    frozen = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True
    ).stdout.split()
    names = [line for line in frozen if line.split("==")[0].lower() in [*PEERS, "torch"]]
    failed = []
    with open(scratch / "report.txt", "w") as report:

        def say(text):
            print(text, flush=True)
            report.write(text + "\n")
            report.flush()

        say(f"{processor()}, {platform.platform()}, Python {platform.python_version()}")
        say(", ".join(names))
        for name, words in comparisons(given, scratch):
            wanted = given.only in (None, name) or (name, given.only) == ("perturb", "duplicates")
            if not wanted:
                continue
            say(f"\n== {name}")
            done = subprocess.run(
                [apart if name == "img2dataset" else python, HERE / words[0], *map(str, words[1:])],
                capture_output=True, text=True, env=os.environ | {"TINTYPE_TEST_DATA": str(given.data)},
            )
            say(done.stdout.rstrip())
            if done.returncode:
                failed.append(name)
                say(f"failed with {done.returncode}: {done.stderr.strip()[-2000:]}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
