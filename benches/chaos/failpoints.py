"""Failpoints: every point x action x seed on one `tintype up` under load, against the oracle.

For each seed there is one data folder with clients that upload without a pause. One start of
the process arms one point; it is held long enough for the point to fire and, unless it is a
kill, for the process to go on; then it is killed, and the next start arms the next one. What a
start leaves half done is thus what the next one begins with. At the end of a seed the process
runs unarmed until all is settled, and the oracle checks every promise."""

import random
import shutil
import subprocess
import threading
import time

ACTIONS = {"before": ("kill", "stall", "error"), "after": ("kill", "stall", "lost")}
# How long a point may take to be reached. Those that are not are said; never are they passed over.
REACH_WITHIN_S = 12.0
# What is called within a round of maintenance only, and the turn is held for a minute by the process that was killed.
OF_A_ROUND = (".end_turn.", ".living_datasets.", ".pinned_versions.")
REACH_ROUND_WITHIN_S = 90.0
STALL_S = 5.0
# Afterwards, so that the process meets what it did itself.
GO_ON_S = 0.3


def points(binary):
    """The names that the build knows; none if it has no failpoints."""
    done = subprocess.run([binary, "failpoints"], capture_output=True, text=True)
    return done.stdout.split() if done.returncode == 0 else []


def run(args, folder, settle):
    """Runs all seeds; whether every promise held and every point was hit. `settle` waits for an empty backlog."""
    from chaos.cluster import Cluster
    from chaos.load import DATASETS, Load
    from chaos.oracle import Account, check
    from measure import report as reports
    from measure.ledger import Ledger

    wanted = [p for p in points(args.tintype) if args.points is None or args.points in p]
    hits = {}
    report = reports.Report("failpoints", args.scratch)
    report.note(f"{len(wanted)} points, seeds {args.seed} to {args.seed + args.seeds - 1}")
    for seed in range(args.seed, args.seed + args.seeds):
        place = folder / f"seed-{seed}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        settings = {"shard_max_age_s": 1, "shard_max_rows": 8, "decode_threads": 1, "maintain_every_s": 1,
                    "embed": "false"}
        cluster = Cluster(args.tintype, place, None, args, settings)
        process = cluster.processes[0]
        process.env["TINTYPE_FAILPOINTS_LOG"] = str(place / "points.log")
        ledger = Ledger(place / "ledger.jsonl")
        try:
            cluster.start()
            names = {name: cluster.doors[0].create_dataset(name, quality="keep")["id"] for name in DATASETS}
            # So few that what the arms leave undone is worked off in minutes at the end.
            load = Load(cluster, ledger, seed, 4, 1_000_000, pace=args.pace or 5, spoilt_share=0.2)
            load.start()
            probe = Probe(process)
            probe.start()
            begun = time.monotonic()
            for point, action in arms(wanted, seed):
                fired = arm(process, place / "points.log", point, action, seed)
                hits[(point, action)] = hits.get((point, action), 0) + fired
            report.figure(f"seed {seed}: minutes", (time.monotonic() - begun) / 60)
            probe.stop.set()
            with process.busy:
                if process.is_alive():
                    process.kill()
                process.start(wait=False)
            report.figure("every client came home", load.finish(300), True)
            report.figure("every capture has its verdict", settle(cluster, names, args.settle_s), True)
            ledger.close()
            check(report, cluster, Account(place / "ledger.jsonl"), names)
            # One that gives up by itself, as at an error while it starts, is started again; it is no broken promise.
            report.figure("ends that no kill ordered", process.deaths)
            report.figure("starts", process.starts)
        finally:
            cluster.end()
    fired = sum(hits.values())
    report.figure("points x actions x seeds that fired", fired)
    report.figure("points x actions x seeds", len(hits) * args.seeds)
    never = sorted({point for point, _ in hits} - {point for (point, _), n in hits.items() if n})
    report.listing("points that were never hit", never)
    report.figure("points that were never hit", len(never), 0)
    missed = [f"{point} {action}: {n} of {args.seeds}" for (point, action), n in sorted(hits.items()) if n < args.seeds]
    report.listing("not hit in every seed", missed)
    return report.end()


class Probe(threading.Thread):
    """Asks whether the process is ready, as an orchestrator would."""

    def __init__(self, process):
        super().__init__(name="probe", daemon=True)
        self.process, self.stop = process, threading.Event()

    def run(self):
        while not self.stop.wait(0.5):
            self.process.is_ready(10)


def arms(wanted, seed):
    """Every point with each of its actions, in the order of the seed."""
    all_of = [(point, action) for point in wanted for action in ACTIONS[point.rsplit(".", 1)[1]]]
    random.Random(seed).shuffle(all_of)
    return all_of


def arm(process, log, point, action, seed):
    """Starts the process with one point armed; whether it fired."""
    line = f"fired {point} {action}\n"
    with process.busy:
        if process.is_alive():
            process.kill()
        begins = log.stat().st_size if log.exists() else 0
        # The seed decides at which of the first calls. Some calls are made once a start, or once a minute.
        is_of_a_round = any(name in point for name in OF_A_ROUND)
        is_rare = is_of_a_round or ".assign." in point or point.startswith("store.list")
        skipped = 0 if is_rare else seed % 3
        passed = f"{skipped}*off->" if skipped else ""
        process.env["TINTYPE_FAILPOINTS"] = f"{point}={passed}1*return({action})"
        process.start(wait=False)
        # The keeper starts it again as it was; once is enough.
        del process.env["TINTYPE_FAILPOINTS"]
    until = time.monotonic() + (REACH_ROUND_WITHIN_S if is_of_a_round else REACH_WITHIN_S)
    while time.monotonic() < until:
        if log.exists():
            with open(log, encoding="utf-8") as file:
                file.seek(begins)
                if line in file.read():
                    time.sleep(GO_ON_S + (STALL_S if action == "stall" else 0))
                    return True
        time.sleep(0.05)
    return False
