"""Uploads while processes and servers die: `python3 benches/chaos [--smoke|--full]`.

Starts Kafka, an S3 server and PostgreSQL (deploy/dev), ingest and processor processes on
them, clients that upload and retry, and disturbs all of it in an order that the seed
decides. At the end every promise is checked by readers that share no code with Tintype.
Ends with 0 if all held, 1 if one was broken, 77 if a part cannot be had here."""

import argparse
import bisect
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True
BENCHES = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(BENCHES), str(BENCHES.parent / "deploy" / "dev")]

READERS = {"deltalake": "deltalake", "duckdb": "duckdb", "numpy": "numpy", "PIL": "pillow", "pyarrow": "pyarrow"}
SKIPPED = 77
# uploads, kills, rebalances, rounds of server kills, of server stops, their longest
SMOKE = {"uploads": 1500, "kills": 40, "rebalances": 4, "server_kills": 1, "server_stops": 1, "longest_stop_s": 12.0}
FULL = {"uploads": 100_000, "kills": 1000, "rebalances": 100, "server_kills": 30, "server_stops": 30,
        "longest_stop_s": 40.0}
# Bars of the issue.
RECOVERY_P99_S, CLOSE_S, DRAIN_S, STALL_S = 10.0, 5.0, 60.0, 15.0


def main():
    args = arguments()
    if not all(importlib.util.find_spec(name) for name in READERS):
        use_own_environment(args.scratch)
    if not os.access(args.tintype, os.X_OK):
        skip(f"{args.tintype} is no program; build it, or name it with --tintype")
    if args.failpoints:
        from chaos import failpoints

        if not failpoints.points(args.tintype):
            skip(f"{args.tintype} has no failpoints; build it with --features failpoints")
        folder = args.scratch / "failpoints"
        folder.mkdir(parents=True, exist_ok=True)
        sys.exit(0 if failpoints.run(args, folder, settle) else 1)
    # A planted bug is looked for with aimed kills, too.
    if args.aimed or args.planted:
        from chaos import failpoints

        if not failpoints.points(args.tintype):
            skip(f"{args.tintype} has no failpoints to aim at; build it with --features failpoints")
    if args.planted == "all" or "," in (args.planted or ""):
        from chaos.bugs import run as bugs

        sys.exit(0 if bugs(args) else 1)
    if not args.embedded and subprocess.run([args.tintype, "init", "--help"], capture_output=True).returncode:
        print("chaos: this build has no `tintype init`: one `tintype up` instead, kills only", flush=True)
        args.embedded = True
    from devservers.fleet import Fleet
    from devservers.process import Failed

    folder = args.scratch / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fleet = None if args.embedded else Fleet(folder / "servers", args.tools)
    try:
        if fleet:
            try:
                fleet.up()
            except Failed as failure:
                skip(str(failure))
        sys.exit(0 if run(args, folder, fleet) else 1)
    finally:
        if fleet:
            fleet.down()


def run(args, folder, fleet):
    from chaos.cluster import Cluster
    from chaos.faults import Faults
    from chaos.load import DATASETS, Load
    from chaos.oracle import Account, check, verdict_times
    from measure import report as reports
    from measure.ledger import Ledger

    report = reports.Report("chaos", args.scratch)
    report.note(f"seed {args.seed}; {vars(args)}")
    # Shards by the handful: commits are where exactly-once is won or lost.
    settings = {"shard_max_age_s": 2, "shard_max_rows": args.shard_rows, "decode_threads": args.decode_threads,
                "embed": "false"}
    cluster = Cluster(args.tintype, folder, fleet, args, settings)
    ledger = Ledger(folder / "ledger.jsonl")
    try:
        cluster.start()
        # Made pictures are not sharp as photos are.
        names = {name: cluster.doors[0].create_dataset(name, quality="keep")["id"] for name in DATASETS}
        load = Load(cluster, ledger, args.seed, args.clients, args.uploads, args.pace)
        load.start()
        faults = Faults(cluster, folder / "faults.jsonl", args.seed)
        watch, follower = Watch(cluster, load), Follower(cluster, load)
        watch.start()
        follower.start()
        disturb(args, cluster, faults, load)
        calm = time.monotonic()
        report.figure("every client came home", load.finish(300) if args.cut else wait(load, args.patience_s), True)
        came_home = time.monotonic()
        # Uploads that go on after the last fault are no backlog of it.
        quiet = calm if args.cut else came_home
        drained = settle(cluster, names, args.settle_s)
        report.figure("every capture has its verdict", drained, True)
        report.at_most(f"from the last {'fault' if args.cut else 'upload'} to an empty backlog, s", time.monotonic() - quiet, DRAIN_S)
        watch.stop.set()
        follower.stop.set()
        ledger.close()
        tell_faults(report, cluster, faults, watch)
        check(report, cluster, Account(folder / "ledger.jsonl"), names)
        times = [t for name, id_ in names.items() for t in verdict_times(cluster, name, id_)]
        tell_recovery(report, faults, times, follower, alone=args.embedded)
        report.figure("uploads answered a second", load.answered / max(1e-9, came_home - load.begun))
    finally:
        cluster.end()
    held = report.end()
    if args.embedded and held:
        # Only on an honest run can a planted break be told from a real one.
        from chaos.planted import run as planted

        held = planted(args, cluster, folder, names)
    return held


def disturb(args, cluster, faults, load):
    """Kind after kind: what breaks is then beside what broke it."""
    faults.kills(args.kills, args.shortest_s, args.longest_s)
    faults.aimed_kills(args.aimed)
    if cluster.fleet:
        faults.rebalances(args.rebalances)
        faults.server_kills(args.server_kills)
        faults.server_stops(args.server_stops, args.longest_stop_s)


def wait(load, within_s):
    until = time.monotonic() + within_s
    while not load.is_done() and time.monotonic() < until:
        time.sleep(0.2)
    return load.is_done()


def settle(cluster, names, within_s):
    """Waits until every capture has its verdict and its shard; false if nothing moves."""
    from measure.server import Unanswered

    last, moved = None, time.monotonic()
    while time.monotonic() - moved < within_s:
        try:
            stats = [cluster.doors[0].get(f"/v1/datasets/{name}/stats") for name in names]
        except (Unanswered, RuntimeError):
            time.sleep(0.5)
            continue
        if all(s["statuses"].get("queued", 0) == 0 and s["awaiting_shard"] == 0 for s in stats):
            return True
        if stats != last:
            last, moved = stats, time.monotonic()
        time.sleep(0.2)
    print(f"  does not settle: {last}", flush=True)
    return False


class Watch(threading.Thread):
    """The longest time in which no upload was answered, while clients wanted to."""

    def __init__(self, cluster, load):
        super().__init__(name="watch", daemon=True)
        self.load, self.stop, self.longest_s = load, threading.Event(), 0.0

    def run(self):
        last, at = self.load.answered, time.monotonic()
        while not self.stop.wait(0.1) and not self.load.is_done():
            if self.load.answered != last:
                last, at = self.load.answered, time.monotonic()
            self.longest_s = max(self.longest_s, time.monotonic() - at)


class Follower(threading.Thread):
    """Asks for one acknowledged capture after the other until it has its verdict: what a
    person who waits would see."""

    def __init__(self, cluster, load):
        super().__init__(name="follower", daemon=True)
        self.cluster, self.load, self.stop, self.seen_s = cluster, load, threading.Event(), []

    def run(self):
        from measure.server import Unanswered

        turn = 0
        while not self.stop.is_set():
            newest = self.load.newest
            if newest is None:
                time.sleep(0.05)
                continue
            self.load.newest, (id_, at) = None, newest
            while not self.stop.wait(0.1):
                turn += 1
                door = self.cluster.doors[turn % len(self.cluster.doors)]
                try:
                    if door.get(f"/v1/captures/{id_}")["status"] != "queued":
                        self.seen_s.append(time.monotonic() - at)
                        break
                except (Unanswered, RuntimeError):
                    pass  # the other door, then


def tell_recovery(report, faults, times, follower, alone):
    """`times`: arrival and verdict of every capture, in seconds. A stopped server is away
    for up to 40 s by order: the bars are of processes' ends alone, where others go on. One
    that is all there is (`alone`) is killed again before it has caught up."""
    from measure import report as reports

    if not times:
        return
    for kinds, what in (
        (("kill",), "while processes are killed"),
        (("leave", "join", "stop beyond the session"), "while partitions are moved"),
        (("kill kafka", "kill s3", "kill postgres"), "while servers are killed"),
        (("stop kafka", "stop s3", "stop postgres"), "while servers are stopped"),
    ):
        mine = [f for f in faults.written if f["kind"] in kinds]
        if not mine:
            continue
        begun, ended = mine[0]["begun"], mine[-1]["ended"]
        took = [d - r for r, d in times if begun <= r <= ended]
        if not took:
            continue
        report.figure(f"{what}: from arrival to verdict, s, p50", reports.percentile(took, 0.5))
        kills = kinds == ("kill",)
        judged = kills and not alone
        report.figure("  p99", reports.percentile(took, 0.99), f"<= {RECOVERY_P99_S}" if judged else None,
                      reports.percentile(took, 0.99) <= RECOVERY_P99_S if judged else None)
        report.figure("  longest", max(took))
        stalled = longest_stall(times, begun, ended)
        moved = "session" in kinds[-1]
        report.figure("  longest time without a verdict while photos wait, s", stalled,
                      f"<= {STALL_S}" if moved else None, stalled <= STALL_S if moved else None)
        if kills:
            again = recoveries(times, [f["ended"] for f in mine])
            report.figure("  from a kill to the first verdict on a photo sent after it, s, p50",
                          reports.percentile(again, 0.5))
            report.figure("    p99", reports.percentile(again, 0.99))
    if follower.seen_s:
        report.figure("from the answer to a verdict that GET tells (one after the other), s, p50",
                      reports.percentile(follower.seen_s, 0.5))
        report.figure("  p99", reports.percentile(follower.seen_s, 0.99))
        report.figure("  of", len(follower.seen_s))


def longest_stall(times, begun, ended):
    """The longest time between two verdicts while at least one photo waits for its."""
    events = sorted([(r, 1) for r, _ in times] + [(d, -1) for _, d in times])
    waiting, since, longest = 0, None, 0.0
    for at, what in events:
        if since is not None and what == -1 and since <= ended and at >= begun:
            longest = max(longest, at - max(since, begun))
        waiting += what
        if what == -1 or since is None:
            since = at if waiting > 0 else None
    return longest


def recoveries(times, kills):
    """For each kill: how long until a photo that came after it had its verdict."""
    arrived = sorted(times)
    best, soonest = float("inf"), [0.0] * len(arrived)
    for n in range(len(arrived) - 1, -1, -1):
        best = min(best, arrived[n][1])
        soonest[n] = best
    begins = [r for r, _ in arrived]
    found = []
    for at in kills:
        n = bisect.bisect_left(begins, at)
        if n < len(arrived):
            found.append(soonest[n] - at)
    return found or [0.0]


def tell_faults(report, cluster, faults, watch):
    for kind, number in sorted(faults.count.items()):
        report.figure(f"faults: {kind}", number)
    if faults.close_s:
        report.at_most("consumer close, s, longest", max(faults.close_s), CLOSE_S)
    report.figure("longest time without an answered upload, s", watch.longest_s)
    report.figure("processes that ended by themselves", sum(p.deaths for p in cluster.everybody), 0)
    report.figure("starts", sum(p.starts for p in cluster.everybody))
    for process in cluster.everybody:
        report.figure(f"peak memory of {process.name}, MiB", process.note_memory() / 2**20)


def arguments():
    target = Path(os.environ.get("CARGO_TARGET_DIR", BENCHES.parent / "target"))
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--tintype", type=Path, default=target / "release" / "tintype", metavar="BINARY")
    add("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "tintype-chaos", metavar="DIR",
        help="servers, data, ledger, results; PostgreSQL's user must reach it (default: %(default)s)")
    add("--tools", type=Path, help="where servers are fetched to (default: TINTYPE_DEV_TOOLS, else below --scratch)")
    add("--seed", type=int, default=1, help="of every random choice (default: %(default)s)")
    add("--embedded", action="store_true", help="one `tintype up` instead of roles on servers; kills only")
    add("--failpoints", action="store_true", help="every failpoint x action on one `tintype up`; needs a build with them")
    add("--seeds", type=int, default=5, help="with --failpoints: how many seeds, from --seed on (default: %(default)s)")
    add("--points", metavar="PART", help="with --failpoints: only points whose name has this part")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--smoke", action="store_true", help="minutes; the default")
    size.add_argument("--full", action="store_true", help="the figures of BENCHMARKS.md; hours")
    for name, value in SMOKE.items():
        add(f"--{name.replace('_', '-')}", type=type(value), help=f"(smoke: {value}, full: {FULL[name]})")
    add("--patience-s", type=float, default=3600, help="for the uploads after the last fault (default: %(default)s)")
    add("--settle-s", type=float, default=300, help="how long nothing may move at the end (default: %(default)s)")
    add("--planted", metavar="BUG", help="build with the feature `planted`; one of its bugs, for a run that must end with 1; several, "
        "with commas, or `all`: each must be caught")
    add("--aimed", type=int, default=0, metavar="KILLS", help="at failpoints where a promise hangs on the next call; needs a build with them")
    add("--cut", action="store_true", help="stop uploading after the last fault")
    add("--ingests", type=int, default=2, help="processes (default: %(default)s)")
    add("--processors", type=int, default=2, help="processes (default: %(default)s)")
    add("--guests", type=int, default=2, help="processors that come and go in rebalances (default: %(default)s)")
    add("--group-protocol", choices=["eager", "cooperative", "consumer"], default="cooperative",
        help="how partitions move (default: %(default)s)")
    add("--dynamic", dest="static", action="store_false", help="no processor keeps its place over a restart")
    add("--decode-threads", type=int, default=1, help="of a processor (default: %(default)s)")
    add("--shard-rows", type=int, default=64, help="rows of a shard (default: %(default)s)")
    add("--clients", type=int, default=8, help="that upload at once (default: %(default)s)")
    add("--pace", type=float, help="uploads a second at most (default: as fast as they are answered)")
    add("--shortest-s", type=float, default=0.05, help="between two kills (default: %(default)s)")
    add("--longest-s", type=float, default=2.0, help="between two kills (default: %(default)s)")
    args = parser.parse_args()
    for name, value in (FULL if args.full else SMOKE).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    args.scratch, args.tintype = args.scratch.resolve(), args.tintype.resolve()
    args.tools = args.tools or Path(os.environ.get("TINTYPE_DEV_TOOLS", args.scratch / "tools"))
    return args


def use_own_environment(scratch):
    """Goes on in a virtual environment that has the readers, at accept.py's versions."""
    place = scratch / "venv"
    python = place / "bin" / "python"
    if Path(sys.prefix) == place:
        skip(f"the environment {place} is not whole; remove it and try again")
    pins = [line for line in (BENCHES / "requirements.txt").read_text().splitlines()
            if line.split("==")[0] in READERS.values()]
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
    except subprocess.CalledProcessError as error:
        skip(f"the readers cannot be fetched: {error}")
    os.execv(python, [python, str(Path(__file__).parent), *sys.argv[1:]])


def skip(why):
    print(f"chaos: SKIPPED, {why}", file=sys.stderr)
    sys.exit(SKIPPED)


if __name__ == "__main__":
    main()
