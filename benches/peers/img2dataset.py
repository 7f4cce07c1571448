#!/usr/bin/env python3
"""The whole processor beside img2dataset: 12 MP photos into Parquet, photos per second on the same cores.

    python3 -m venv scratch && scratch/bin/pip install img2dataset pyarrow pillow numpy
    cargo build --release
    scratch/bin/python benches/peers/img2dataset.py --tintype target/release/tintype --data DATA [--weights FILE]

img2dataset reads the files by file:// URLs (no server takes part of the cores), verifies, resizes the shorter
side to 256, encodes at quality 90, hashes the file and writes Parquet, with as many processes as cores. Ours is a
server of its own and `tintype import` over HTTP on the same cores: all that and near-duplicates, scores and verdicts,
until the last verdict. With --weights a third run computes embeddings. In turn; medians of paired ratios.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from measure import pictures
from measure.server import Server

PEER = """
import sys
from img2dataset import download
download(url_list=sys.argv[1], output_folder=sys.argv[2], output_format="parquet", input_format="txt",
         image_size=256, resize_mode="keep_ratio", resize_only_if_bigger=True, encode_quality=90,
         processes_count=int(sys.argv[3]), thread_count=8, number_sample_per_shard=int(sys.argv[4]),
         compute_hash="sha256", extract_exif=False, enable_wandb=False, distributor="multiprocessing",
         min_image_size=16, max_aspect_ratio=12)
"""


def theirs(files, scratch, cores):
    listed, out = scratch / "urls.txt", scratch / "img2dataset"
    shutil.rmtree(out, ignore_errors=True)
    listed.write_text("".join(f"file://{path}\n" for path in files))
    shard = -(-len(files) // cores)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PEER, listed, out, str(cores), str(shard)], capture_output=True, text=True,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
    )
    seconds = time.monotonic() - began
    import pyarrow.parquet

    rows = [pyarrow.parquet.read_table(f, columns=["status"]) for f in out.glob("*.parquet")]
    num = sum(status == "success" for table in rows for status in table["status"].to_pylist())
    if num != len(files):
        sys.exit(f"img2dataset made {num} of {len(files)}: {done.stderr[-2000:]}")
    return seconds


def ours(args, folder, count, weights):
    data = args.scratch / "img2dataset-up" / "data"
    shutil.rmtree(data.parent, ignore_errors=True)
    settings = {"embed": "true", "weights": weights} if weights else {"embed": "false"}
    with Server(args.tintype, data, **settings) as server:
        began = time.monotonic()
        told = server.import_folder(folder, "photos", "--create")
        seconds = time.monotonic() - began
        peak = server.note_memory() / 2**20
    judged = sum(told[s] for s in ("accepted", "duplicate", "review", "rejected"))
    if judged != count:
        sys.exit(f"{judged} verdicts on {count} photos")
    return seconds, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tintype", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--weights", type=pathlib.Path)
    parser.add_argument("--scratch", type=pathlib.Path, default=pathlib.Path("target/peers"))
    parser.add_argument("--photos", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    args.seed, args.cores, args.scratch = 1, len(os.sched_getaffinity(0)), args.scratch.resolve()
    args.tintype, args.data = args.tintype.resolve(), args.data.resolve()
    folder, mean_bytes = pictures.phone_set(args, "12mp", args.photos, pictures.PHONE_12MP)
    files = sorted(folder.rglob("*.jpg"))
    # Loading its libraries takes img2dataset seconds; a large set hardly notices, so it is told without as well.
    seconds = {"img2dataset": [], "img2dataset, started": [], "ours": [], "ours, with embedding": []}
    peaks = {"ours": 0, "ours, with embedding": 0}
    for _ in range(args.rounds):
        seconds["img2dataset"].append(theirs(files, args.scratch, args.cores))
        start = theirs(files[: args.cores], args.scratch, args.cores)
        seconds["img2dataset, started"].append(seconds["img2dataset"][-1] - start)
        for name in peaks:
            weights = args.weights.resolve() if args.weights else None
            if name == "ours" or weights:
                took, peak = ours(args, folder, len(files), weights if name != "ours" else None)
                seconds[name].append(took)
                peaks[name] = max(peaks[name], peak)
    print(f"{len(files)} photos of 12 MP, {mean_bytes / 1e6:.2f} MB, {args.cores} cores, {args.rounds} rounds")
    for name, times in seconds.items():
        if times:
            ratio = statistics.median(p / o for p, o in zip(seconds["img2dataset"], times))
            started = statistics.median(p / o for p, o in zip(seconds["img2dataset, started"], times))
            peak = f"   peak {peaks[name]:.0f} MiB" if name in peaks else ""
            print(f"  {name:22} {len(files) / statistics.median(times):8.1f} photos/s   img2dataset / this {ratio:6.2f}, started {started:6.2f}{peak}")


if __name__ == "__main__":
    main()
