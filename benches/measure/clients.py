"""Clients that others wrote, as their registries have them and unchanged but for the address:
each sends a photo, and the server must then have that photo, byte for byte, under that label. What
cannot be installed here is said and left out."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from . import report as reports
from .pictures import drawn
from .server import Server

HERE = Path(__file__).resolve().parent.parent / "clients"
TUS_JS, EDGE_IMPULSE_LINUX = "4.3.1", "1.25.2"
WITHIN_S = 60
# The client never tells the length of a file whose length it was told to hold back: with `SmallServer`
# it hangs as well. Streams that are no files work.
HANGS = "file whose length is held back, four pieces"
TUS_JS_CASES = [
    "file", "file in pieces", "buffer", "buffer with the creation", "buffer in three parallel parts",
    "aborted and gone on with", "stream of unknown length, one piece",
    "stream of unknown length, four pieces", HANGS, "IETF draft, interop 5", "IETF draft, interop 3",
]
# The program edge-impulse-uploader asks Edge Impulse's studio for the project first, at a port of its own; the module by
# which it sends is in the package edge-impulse-linux too.
UPLOADER_CASES = ["label", "label from the file name, metadata", "known already", "bounding boxes"]
BOXES = "boxes within a photo are no labels of it; the photo is taken, and the file with its boxes refused"
TUSPY_CASES = ["whole", "in pieces, with checksums", "broken off and gone on with", "stream"]
DRAFT_CASES = ["whole", "in two parts", "cut off by curl"]


def run(args):
    report = reports.Report("clients", args.scratch)
    folder = args.scratch / "clients"
    # What was installed stays for the next time.
    shutil.rmtree(folder / "run", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    with Server(args.tintype, folder / "run" / "up") as server:
        dataset = server.create_dataset("clients", near_duplicates="group", quality="keep")["id"]
        bench = Bench(report, server, dataset, folder)
        node = javascript(folder, f"tus-js-client@{TUS_JS}")
        if node is None:
            report.note("tus-js-client: left out, npm is not here or cannot fetch it")
        else:
            for case in TUS_JS_CASES:
                known = "hangs in the client, with any server" if case == HANGS and bench.hangs_by_itself(node) else None
                bench.check("tus-js-client " + TUS_JS, case, ["node", HERE / "tus.mjs", case, server.url, dataset, server.key], cwd=node, cannot=known)
        node = javascript(folder, f"edge-impulse-linux@{EDGE_IMPULSE_LINUX}")
        if node is None:
            report.note("edge-impulse-linux: left out, npm is not here or cannot fetch it")
        else:
            for case in UPLOADER_CASES:
                cannot = BOXES if case == "bounding boxes" else None
                bench.check("edge-impulse-uploader's upload " + EDGE_IMPULSE_LINUX, case, ["node", HERE / "edge_impulse_uploader.mjs", case, server.url, server.key], cwd=node, cannot=cannot)
        python = packages(folder)
        if python is None:
            report.note("tuspy, roboflow, edgeimpulse: left out, PyPI cannot be reached")
        else:
            for case in TUSPY_CASES:
                bench.check("tuspy", case, [python, HERE / "tus_py.py", case, server.url, dataset, server.key])
            for case in ["single_upload", "upload"]:
                bench.check("roboflow", case, [python, HERE / "roboflow_package.py", case, "clients", server.key], API_URL=server.url + "/roboflow")
            for case in ["upload_samples", "upload_directory", "known already"]:
                bench.check("edgeimpulse", case, [python, HERE / "edge_impulse.py", case, server.url, server.key])
        for case in DRAFT_CASES:
            bench.check("curl, IETF draft", case, [HERE / "draft.sh", case, server.url, dataset, server.key])
        bench.look_up()
    return report.end()


class Bench:
    """Runs one client after the other, each with a photo of its own."""

    def __init__(self, report, server, dataset, folder):
        self.report, self.server, self.dataset, self.folder = report, server, dataset, folder
        self.number, self.sent = 0, []

    def check(self, client, case, command, cwd=None, cannot=None, **env):
        self.number += 1
        place = self.folder / "run" / "photos" / str(self.number)
        place.mkdir(parents=True, exist_ok=True)
        photo, label = place / "photo.jpg", f"label-{self.number}"
        photo.write_bytes(drawn(self.number, 1200, 900))
        limit = 8 if cannot else WITHIN_S
        words = [*map(str, command), str(photo), label]
        try:
            done = subprocess.run(words, cwd=cwd, env=os.environ | env, capture_output=True, text=True, timeout=limit)
            said = (done.stdout + done.stderr).strip().splitlines()
            works = done.returncode == 0 and any(line.startswith("done") for line in said)
        except subprocess.TimeoutExpired:
            works, said = False, [f"no end within {limit} s"]
        name = f"{client}: {case}"
        if cannot and not works:
            self.report.note(f"{name}: CANNOT: {cannot}")
            return
        self.report.figure(name, "works" if works else said[-1][:200] if said else "failed", "works")
        if works:
            self.sent.append((name, label, hashlib.sha256(photo.read_bytes()).hexdigest()))

    def hangs_by_itself(self, node):
        """Whether the client does not end with a server that does nothing but count either."""
        photo = self.folder / "run" / "stream.jpg"
        photo.write_bytes(drawn(0, 1200, 900))
        small = ThreadingHTTPServer(("127.0.0.1", 0), SmallServer)
        threading.Thread(target=small.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{small.server_port}"
        try:
            subprocess.run(["node", HERE / "tus.mjs", HANGS, url, "any", "key", photo, "label"], cwd=node, capture_output=True, timeout=8)
            return False
        except subprocess.TimeoutExpired:
            return True
        finally:
            small.shutdown()

    def look_up(self):
        """What the clients called done is a capture under its label, and its original is whole."""
        self.server.settle(self.dataset, shards=False)
        captures = {capture["sha256"]: capture for capture in self.server.captures(self.dataset)}
        originals = self.server.folder / "objects" / "originals" / self.dataset
        wrong = []
        for name, label, sha256 in self.sent:
            capture = captures.get(sha256)
            path = originals / sha256[:2] / sha256
            if capture is None or capture["label"] != label or capture["status"] != "accepted":
                wrong.append(f"{name}: {capture}")
            elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                wrong.append(f"{name}: the original is another")
        self.report.listing("sent, and not as it should be", wrong)
        self.report.figure("photos that arrived whole, under their label, and were accepted", len(self.sent) - len(wrong), len(self.sent))


class SmallServer(BaseHTTPRequestHandler):
    """As much of tus as it takes to be sent a file."""

    protocol_version = "HTTP/1.1"
    offset = 0

    def do_POST(self):
        self.answer(201, Location="/upload")

    def do_PATCH(self):
        SmallServer.offset = int(self.headers["Upload-Offset"]) + len(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(204, **{"Upload-Offset": str(SmallServer.offset)})

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in (headers | {"Tus-Resumable": "1.0.0", "Content-Length": "0"}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


def javascript(folder, package):
    """A folder with this package of npm's, if it can be had."""
    name = package.rsplit("@", 1)[0]
    place = folder / f"node-{name}"
    place.mkdir(exist_ok=True)
    if shutil.which("npm") is None:
        return None
    if not (place / "node_modules" / name).is_dir():
        (place / "package.json").write_text('{"private": true}')
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", package]
        if subprocess.run(command, cwd=place, capture_output=True).returncode != 0:
            return None
    return place


def packages(folder):
    """A Python with the packages, if they can be had."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    command = [python, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"]
    return python if subprocess.run(command, capture_output=True).returncode == 0 else None
