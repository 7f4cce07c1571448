"""Interrupts many short trainings, by SIGKILL and by SIGTERM at random instants and while a
checkpoint is being written, and compares what each ends with, hash by hash, with a run that
nobody disturbed. `--rounds` interruptions in all, at most `--per-run` of them in one training."""

import collections
import json
import random
import shutil
import signal
import time

from . import report as reports
from .server import Server

SPEC = {
    "preset": "best", "mode": "scratch", "architecture": "mobilenet_v2_0.35", "input_size": 96,
    "batch_size": 8, "checkpoint_every_s": 1, "early_stop": 0, "device": "cpu", "ema": 0.99,
    "augment": {"erasing": 0.25},
    "phases": [
        {"epochs": 1, "train": "head", "optimizer": {"kind": "adamw"}, "learning_rate": 0.001,
         "backbone_rate": 0.0, "weight_decay": 0.01, "schedule": {"kind": "constant"}},
        {"epochs": 8, "train": "all", "optimizer": {"kind": "adamw"}, "learning_rate": 0.002,
         "backbone_rate": 1.0, "weight_decay": 0.01,
         "schedule": {"kind": "cosine", "warmup_epochs": 1.0}},
    ],
}
# The history ends each phase with a hash over weights, optimiser, schedule and average.
COMPARED = ("weights.safetensors", "history.json", "evaluation.json")
CLASSES, PHOTOS = 3, 24
ENDS_WITHIN_S = 900


def run(args):
    report = reports.Report("interrupt", args.scratch)
    folder = args.scratch / "interrupt"
    shutil.rmtree(folder, ignore_errors=True)
    photos = some_photos(args, folder / "photos")
    rng = random.Random(args.seed)
    with Server(args.tintype, folder / "up", fetch_weights="false") as server:
        server.import_folder(photos, "some", "--create")
        server.settle("some")
        begun = time.monotonic()
        expected = hashes(server, ended(server, ask(server)))
        whole_s = time.monotonic() - begun
        report.figure("the undisturbed run, s", round(whole_s, 1))
        done, runs, equal, in_equal, stops, kinds = 0, 0, 0, 0, [], collections.Counter()
        while done < args.rounds:
            runs += 1
            most = min(args.per_run, args.rounds - done)
            found, interruptions, took = disturbed(server, folder, rng, most, whole_s)
            kinds.update(interruptions)
            done += len(interruptions)
            stops += took
            equal += found == expected
            in_equal += (found == expected) * len(interruptions)
        report.figure("runs", runs)
        report.at_least("runs that ended with the same weights, optimiser, history and evaluation", equal, runs)
        report.at_least("interruptions that these runs had", in_equal, args.rounds)
        for kind, count in sorted(kinds.items()):
            report.figure(f"of them {kind}", count)
        report.figure("all runs together, s", round(time.monotonic() - begun - whole_s))
        if stops:
            report.at_most("SIGTERM to the end of the process, slowest, s", round(max(stops), 2), 15)
    return report.end()


def disturbed(server, folder, rng, most, whole_s):
    id_ = ask(server)
    interruptions, stops = [], []
    while len(interruptions) < most:
        place = "at any instant"
        if rng.random() < 0.3 and in_checkpoint(folder, id_):
            place = "in a checkpoint's writing"
        else:
            # So that all of them find it at work.
            time.sleep(rng.uniform(0.02, whole_s / (most + 1)))
        if server.get(f"/v1/trainings/{id_}")["state"] not in ("queued", "running"):
            break
        if rng.random() < 0.3:
            begun = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(60)
            stops.append(time.monotonic() - begun)
            interruptions.append(f"by SIGTERM, {place}")
        else:
            server.kill()
            interruptions.append(f"by SIGKILL, {place}")
        server.start()
    return hashes(server, ended(server, id_)), interruptions, stops


def in_checkpoint(folder, id_):
    """Waits for the instant at which a new part of a checkpoint is there; False after two seconds without."""
    place = folder / "up" / "objects" / "checkpoints" / id_
    names = lambda: set(p.name for p in place.iterdir()) if place.is_dir() else set()
    before, begun = names(), time.monotonic()
    while time.monotonic() - begun < 2:
        if names() - before:
            return True
        time.sleep(0.001)
    return False


def ask(server):
    headers = {"Content-Type": "application/json"}
    status, _, answer = server.request("POST", "/v1/datasets/some/trainings", json.dumps(SPEC), headers)
    if status != 202:
        raise RuntimeError(f"training answered {status}: {answer!r}")
    return json.loads(answer)["id"]


def ended(server, id_):
    begun = time.monotonic()
    while time.monotonic() - begun < ENDS_WITHIN_S:
        training = server.get(f"/v1/trainings/{id_}")
        if training["state"] not in ("queued", "running"):
            if training["state"] != "succeeded":
                raise RuntimeError(f"training {training['state']}: {training.get('error')}")
            return training
        time.sleep(0.1)
    raise RuntimeError(f"the training did not end within {ENDS_WITHIN_S} s")


def hashes(server, training):
    model = server.get(f"/v1/models/{training['model_id']}")
    files = {file["name"]: file["sha256"] for file in model["files"]}
    history = server.get(f"/v1/models/{training['model_id']}/files/history.json")
    sealed = [epoch for epoch in history if epoch.get("state_sha256")]
    if len(sealed) != len(SPEC["phases"]):
        raise RuntimeError(f"{len(sealed)} phases of {len(SPEC['phases'])} end with a hash of the state: nothing is compared")
    return {name: files[name] for name in COMPARED}


def some_photos(args, to):
    classes = sorted(p for p in (args.data / "photos" / "caltech101").iterdir() if p.is_dir())[:CLASSES]
    for class_ in classes:
        (to / class_.name).mkdir(parents=True)
        for photo in sorted(class_.glob("*.jpg"))[:PHOTOS]:
            shutil.copy(photo, to / class_.name)
    return to
