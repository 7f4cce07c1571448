#!/usr/bin/env python3
"""Tables read by others while they are merged: `maintenance.py [--tintype BINARY]`.

A `tintype up` takes photos without a pause, a shard each second, and is told to do a round of
maintenance each second. Meanwhile readers that share no code with it count rows and compare
pictures, again and again, at the newest version and at pinned ones: Python's `deltalake`,
DuckDB, Polars and (with --spark) Spark, which fetches Delta's jars from Maven Central.
Fails if a reader fails, sees a row twice, loses one, or a picture has other bytes than before."""

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
READERS = {"deltalake": "deltalake==1.6.6", "duckdb": "duckdb==2.0.0", "polars": "polars==2.1.0",
           "pyarrow": "pyarrow==26.0.1", "PIL": "pillow==13.0.0", "numpy": "numpy==2.4.6"}
SPARK, SPARK_DELTA = "pyspark==4.0.1", "io.delta:delta-spark_2.13:4.0.0"


def main():
    args = arguments()
    readers = dict(READERS) | ({"pyspark": SPARK} if args.spark else {})
    if not all(importlib.util.find_spec(name) for name in readers):
        use_own_environment(args.scratch, readers.values())
    from measure import pictures
    from measure.report import Report
    from measure.server import Server, Unanswered

    folder = args.scratch / "maintenance"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    report = Report("maintenance", args.scratch)
    settings = {"shard_max_age_s": 1, "shard_max_rows": 16, "decode_threads": 1, "maintain_every_s": 1, "embed": "false"}
    with Server(args.tintype, folder / "up", **settings) as server:
        dataset = server.create_dataset("cats", quality="keep")["id"]
        table = server.table(dataset)
        sent = threading.Event()

        def send():
            for number in range(args.photos):
                while True:
                    try:
                        status, _, _ = server.upload("cats", pictures.drawn(args.seed * 10**6 + number), f"label {number % 5}",
                                                     idempotency_key=f"photo-{number}")
                    except Unanswered:
                        status = 0
                    if status in (200, 202):
                        break
                    time.sleep(0.1)
            sent.set()

        sender = threading.Thread(target=send, daemon=True)
        begun = time.monotonic()
        sender.start()
        while not (table / "_delta_log").is_dir():
            time.sleep(0.05)
        seen, pinned, rounds = {}, {}, 0
        while not sent.is_set():
            look(table, seen, pinned)
            rounds += 1
        server.settle("cats")
        took = time.monotonic() - begun
        if args.spark:
            seconds = spark(table, seen, pinned, args.scratch)
            report.figure("Spark: start and three reads, s", seconds)
        time.sleep(3)
        look(table, seen, pinned)
        accepted = {c["id"] for c in server.captures("cats") if c["status"] == "accepted"}
        metrics = server.metrics()
        count = lambda action: int(metrics.get(f'tintype_maintenance_files_total{{action="{action}"}}', 0))
    # The process is gone: what the tables say without it.
    look(table, seen, pinned)
    import deltalake

    live = deltalake.DeltaTable(str(table))
    report.figure("photos", len(accepted))
    report.figure("seconds", took)
    report.figure("rounds of readers meanwhile", rounds)
    report.figure("versions of the table", live.version() + 1)
    report.figure("small files merged, of both tables", count("merged"))
    report.at_least("merges", count("written"), 5)
    report.figure("files in the end", len(live.file_uris()))
    report.figure("pinned versions read again at the end", len(pinned))
    report.figure("rows seen at any time that are not accepted", len(set(seen) - accepted), 0)
    report.figure("accepted photos that no reader saw", len(accepted - set(seen)), 0)
    sys.exit(0 if report.end() else 1)


def look(table, seen, pinned):
    """All readers, once; each must see the same rows. Raises at the first thing that is wrong."""
    import deltalake
    import duckdb
    import polars

    delta = deltalake.DeltaTable(str(table))
    version = delta.version()
    rows = delta.to_pyarrow_table(columns=["id", "image"]).to_pylist()
    check("deltalake", version, [(row["id"], row["image"]["bytes"]) for row in rows], seen)
    paths = [path.removeprefix("file://") for path in delta.file_uris()]
    if paths:
        with duckdb.connect() as connection:
            sql = f"SELECT id, image.bytes AS bytes FROM read_parquet({paths!r})"
            found = connection.sql(sql).fetchall()
        expect("duckdb", version, found, rows)
    found = polars.scan_delta(str(table), version=version).select("id").collect()["id"].to_list()
    expect("polars", version, [(id_, None) for id_ in found], rows)
    pinned.setdefault(version, {row["id"] for row in rows})
    # What a training does that was pinned a while ago: its files are there, merged or not.
    oldest = min(pinned)
    again = deltalake.DeltaTable(str(table), version=oldest).to_pyarrow_table(columns=["id"])
    if set(again["id"].to_pylist()) != pinned[oldest]:
        raise SystemExit(f"version {oldest} has other rows at version {version} than it had")


def check(reader, version, rows, seen):
    ids = Counter(id_ for id_, _ in rows)
    twice = [id_ for id_, n in ids.items() if n > 1]
    if twice:
        raise SystemExit(f"{reader}: {twice[:3]} stand twice in version {version}")
    lost = set(seen) - set(ids)
    if lost:
        raise SystemExit(f"{reader}: {len(lost)} rows of earlier versions are not in version {version}")
    for id_, bytes_ in rows:
        digest = hashlib.sha256(bytes_).digest()
        if seen.setdefault(id_, digest) != digest:
            raise SystemExit(f"{reader}: the picture of {id_} is another in version {version}")


def expect(reader, version, found, rows):
    if sorted(id_ for id_, _ in found) != sorted(row["id"] for row in rows):
        raise SystemExit(f"{reader}: {len(found)} rows in version {version}, and {len(rows)} by deltalake")


def spark(table, seen, pinned, scratch):
    """The newest version, a pinned one and the history, by Spark with Delta's own reader."""
    from pyspark.sql import SparkSession

    begun = time.monotonic()
    session = (SparkSession.builder.master("local[1]").appName("maintenance")
               .config("spark.jars.packages", SPARK_DELTA).config("spark.jars.ivy", str(scratch / "ivy"))
               .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
               .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
               .config("spark.ui.enabled", "false").config("spark.driver.memory", "1g").getOrCreate())
    try:
        session.sparkContext.setLogLevel("ERROR")
        rows = session.read.format("delta").load(str(table)).select("id", "image.bytes").collect()
        check("spark", "newest", [(row["id"], bytes(row["bytes"])) for row in rows], seen)
        version = min(pinned)
        old = session.read.format("delta").option("versionAsOf", version).load(str(table)).select("id").collect()
        if {row["id"] for row in old} != pinned[version]:
            raise SystemExit(f"spark: version {version} has other rows than it had")
        history = session.sql(f"DESCRIBE HISTORY delta.`{table}`").select("operation").collect()
        if "OPTIMIZE" not in {row["operation"] for row in history}:
            raise SystemExit("spark: the history has no merge")
    finally:
        session.stop()
    return time.monotonic() - begun


def arguments():
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--tintype", type=Path, default=target / "release" / "tintype", metavar="BINARY")
    add("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "tintype-maintenance", metavar="DIR")
    add("--photos", type=int, default=1500, help="(default: %(default)s)")
    add("--seed", type=int, default=1)
    add("--spark", action="store_true", help="read with Spark as well; needs Java 17")
    args = parser.parse_args()
    args.scratch, args.tintype = args.scratch.resolve(), args.tintype.resolve()
    return args


def use_own_environment(scratch, packages):
    """Goes on in a virtual environment that has the readers."""
    python = scratch / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", scratch / "venv"], check=True)
    elif Path(sys.prefix) == scratch / "venv":
        sys.exit(f"the environment {scratch / 'venv'} is not whole; remove it and try again")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    os.execv(python, [python, *sys.argv])


if __name__ == "__main__":
    main()
