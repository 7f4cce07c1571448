#!/usr/bin/env python3
"""Shows what Tintype does, figure beside bar: `accept.py SUBCOMMAND --tintype BINARY`.
Ends with 1 if a bar is missed. The independent readers are fetched into a virtual
environment in the scratch folder if they are not installed."""

import argparse
import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# The tree stays as it was checked out.
sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
READERS = ["datasets", "deltalake", "duckdb", "numpy", "PIL", "pyarrow"]
# Each is `run(args)` of the module of this name and says whether its bars are met.
SUBCOMMANDS = {
    "photos": "import of every set of real photos, read back by independent readers",
    "hostile": "every hostile file over HTTP: answers, verdicts, memory",
    "exif": "orientations upright, no location anywhere",
    "neardup": "precision and recall of the duplicate verdicts",
    "kill": "kill -9 at random instants of an import; nothing lost, nothing twice",
    "cuts": "uploads over a bad network: cut, stalled, doubled, the server killed; stored once, byte for byte",
    "direct": "photos that phones write into S3 themselves: refused, confirmed, the server killed; one capture each",
    "clients": "tus-js-client, tuspy, roboflow, edgeimpulse and curl, unchanged but for the address",
    "throughput": "photos per second of import, memory, cost of each step",
    "latency": "one photo alone: upload to answer, upload to verdict",
    "training": "the preset fast on real photos, beside scikit-learn on the same features",
    "interrupt": "a training killed and stopped at random: the same weights in the end",
    "idle": "CPU and memory of a server with nothing to do",
}


def main():
    args = arguments()
    if not all(importlib.util.find_spec(name) for name in READERS):
        use_own_environment(args.scratch)
    if not os.access(args.tintype, os.X_OK):
        sys.exit(f"{args.tintype} is no program; build it, or name it with --tintype")
    if not (args.data / "photos").is_dir():
        sys.exit(f"no test photos in {args.data}; name their folder with --data or TINTYPE_TEST_DATA")
    # Server and clients share these cores, so that figures of larger machines compare.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    names = SUBCOMMANDS if args.subcommand == "all" else [args.subcommand]
    met = [importlib.import_module(f"measure.{name}").run(args) for name in names]
    sys.exit(0 if all(met) else 1)


def arguments():
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    data = Path(os.environ.get("TINTYPE_TEST_DATA", HERE.parent.parent / "shared" / "data"))
    listed = "\n".join(f"  {name:<12}{what}" for name, what in SUBCOMMANDS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"subcommands:\n{listed}\n  {'all':<12}all of them",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("subcommand", choices=[*SUBCOMMANDS, "all"], metavar="SUBCOMMAND")
    add("--tintype", type=Path, default=target / "release" / "tintype", metavar="BINARY")
    add("--data", type=Path, default=data, metavar="DIR", help="the test photos")
    add("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "tintype-benches", metavar="DIR",
        help="where servers, made pictures and results are kept (default: %(default)s)")
    add("--cores", type=int, default=2, help="cores for server and client together (default: %(default)s)")
    add("--seed", type=int, default=1, help="of everything random (default: %(default)s)")
    add("--rounds", type=int, default=100, help="kill: how often (default: %(default)s)")
    add("--per-run", type=int, default=4, help="interrupt: how often each training (default: %(default)s)")
    add("--uploads", type=int, default=10_000, help="cuts: how many (default: %(default)s)")
    add("--minutes", type=float, default=60, help="cuts: begin no batch of 1,000 after so long (default: %(default)s)")
    add("--runs", type=int, default=3, help="throughput: runs of each set, of which the median counts (default: %(default)s)")
    add("--photos", type=int, default=50, help="latency: how many (default: %(default)s)")
    args = parser.parse_args()
    args.scratch = args.scratch.resolve()
    args.data, args.tintype = args.data.resolve(), args.tintype.resolve()
    return args


def use_own_environment(scratch):
    """Goes on in a virtual environment that has the readers."""
    python = scratch / "venv" / "bin" / "python"
    if Path(sys.prefix) == scratch / "venv":
        sys.exit(f"the environment {scratch / 'venv'} is not whole; remove it and try again")
    if not python.exists():
        print(f"making a Python environment in {scratch / 'venv'}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", scratch / "venv"], check=True)
    wanted = HERE / "requirements.txt"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", wanted], check=True)
    os.execv(python, [python, *sys.argv])


if __name__ == "__main__":
    main()
