"""Phone photos with EXIF: each of the eight orientations is stored upright, and where
a photo was taken is written nowhere but in the uploaded file itself."""

import io
import json
import shutil

import numpy as np
from PIL import Image, ImageOps

from . import location, tables
from . import report as reports
from .server import Server

# The picture as it should be, then the seven ways in which it may be turned instead.
TURNS = [
    None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90,
]
# Mean absolute difference, of 255, between two correct readings of one photo: other
# resampling, other JPEG coding, colour profile applied or not. A turned one differs by 30 and more.
SAME_PICTURE = 8.0


def run(args):
    report = reports.Report("exif", args.scratch)
    folder = args.scratch / "exif"
    shutil.rmtree(folder, ignore_errors=True)
    originals = {
        path: path.read_bytes()
        for part in ("phone-exif", "photos/phone-large")
        for path in sorted((args.data / part).rglob("*")) if path.is_file()
    }
    report.at_least("files", len(originals), 100)
    server = Server(args.tintype, folder / "up", log="trace", shard_max_age_s=1)
    # Every reply is kept: the search goes through them, too.
    replies, ask = [], server.request
    def request(*args, **more):
        answer = ask(*args, **more)
        replies.append(str(answer[1]).encode() + b"\n" + answer[2])
        return answer
    server.request = request
    with server:
        orientations(report, server, args.data / "phone-exif" / "orientation-1to8")
        samples(report, server, originals)
        replies.append(server.events("exif"))
        for path in ("/metrics", "/openapi.json", "/v1/datasets"):
            server.request("GET", path)
        report.figure("process deaths", int(not server.is_alive()), 0)
        server.stop()
        location.search(report, server, originals, replies)
    return report.end()


def orientations(report, server, folder):
    """One dataset for each file, so that it is a row though it shows what others show."""
    files = sorted(folder.glob("*.jpg"))
    report.figure("files with orientation 0 to 8, two of each", len(files), 18)
    upright, turned, apart = 0, [], []
    for file in files:
        dataset = server.create_dataset(f"o-{file.stem.lower()}", quality="keep")
        server.upload(dataset["name"], file.read_bytes(), "outdoors")
        server.settle(dataset["name"])
        stored = [picture for *_, picture in tables.pictures(server.table(dataset["id"]))]
        if len(stored) != 1:
            turned.append(f"{file.name}: {len(stored)} rows")
            continue
        kind = file.stem.split("_")[0]
        # The ground truth: orientation 1 of the same scene needs no turning at all.
        truth = Image.open(folder / f"{kind}_1.jpg")
        best, difference = nearest_turn(Image.open(io.BytesIO(stored[0])), truth)
        upright += best == 0
        if best != 0:
            turned.append(f"{file.name}: turned as orientation {best + 1} is")
        if difference > SAME_PICTURE:
            apart.append(f"{file.name}: differs by {difference:.1f} of 255")
    report.figure("  stored upright, against orientation 1", upright, len(files))
    report.figure(f"  that differ from it by more than {SAME_PICTURE:.0f} of 255", len(apart), 0)
    report.listing("not upright", turned + apart)


def samples(report, server, originals):
    """All files in one dataset that keeps twins and poor photos: as many rows as can be."""
    dataset = server.create_dataset("exif", near_duplicates="group", quality="keep")
    names = {}
    for path, data in originals.items():
        status, _, body = server.upload("exif", data, "exif")
        if status in (200, 202):
            names.setdefault(json.loads(body)["id"], path)
        elif status != 415:
            report.figure(f"answer to {path.name}", status, "200, 202 or 415", False)
    server.settle("exif")
    for id_ in names:
        server.request("GET", f"/v1/captures/{id_}")
    server.request("GET", "/v1/datasets/exif/stats")
    captures = server.captures("exif")
    report.note(reports.verdicts(captures))
    report.listing("not accepted", (
        f"{c['status']}/{c.get('reason')}  {names[c['id']].name}  {c.get('detail', '')}"
        for c in captures if c["status"] != "accepted"
    ))
    compared, turned, apart, tagged = 0, [], [], []
    for id_, _, _, _, data in tables.pictures(server.table(dataset["id"])):
        stored, name = Image.open(io.BytesIO(data)), names[id_].name
        if "exif" in stored.info or b"http://ns.adobe.com/xap" in data or b"Exif\0\0" in data:
            tagged.append(name)
        try:
            truth = ImageOps.exif_transpose(Image.open(names[id_]))
        except Exception as error:  # noqa: BLE001: Pillow fails on some of these in many ways
            report.note(f"{name}: Pillow itself cannot turn it ({type(error).__name__})")
            continue
        compared += 1
        best, difference = nearest_turn(stored, truth)
        if best != 0:
            turned.append(f"{name}: turned as orientation {best + 1} is")
        if difference > SAME_PICTURE:
            apart.append(f"{name}: differs by {difference:.1f} of 255")
    report.at_least("rows compared with Pillow's exif_transpose", compared, 60)
    report.figure("  that any other orientation fits better", len(turned), 0)
    report.figure(f"  that differ by more than {SAME_PICTURE:.0f} of 255", len(apart), 0)
    report.figure("  stored pictures that carry EXIF or XMP", len(tagged), 0)
    report.listing("to look at", turned + apart + tagged)


def nearest_turn(stored, truth):
    """Which of the eight turns of `truth` is nearest to `stored` (0: as it is, also if
    another is as near), and how far `stored` is from `truth` as it is."""
    stored, truth = thumbnail(stored), thumbnail(truth)
    differences = []
    for turn in TURNS:
        turned = truth if turn is None else truth.transpose(turn)
        pair = np.abs(np.asarray(stored, float) - np.asarray(turned, float))
        differences.append(pair.mean())
    best = int(np.argmin(differences))
    return (0 if differences[0] <= differences[best] + 0.5 else best), differences[0]


def thumbnail(picture):
    """Square, so that a picture that lies on its side can be compared, too."""
    picture = picture.convert("RGBA") if "A" in picture.getbands() or "transparency" in picture.info else picture
    if picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB").resize((64, 64), Image.Resampling.BOX)
