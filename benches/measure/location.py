"""Searches for the places where photos were taken in everything that a server wrote or
said. The coordinates are read from the uploaded files by Pillow and searched for as
EXIF rationals, as doubles and as text; that each search finds its originals shows that
it can find something at all."""

import contextlib
import io
import re
import sqlite3
import struct
from fractions import Fraction

from PIL import ExifTags, Image

from . import tables

# Digits after the point of a decimal degree: 4 are 11 m. Fewer would match by chance.
DECIMALS = (4, 5, 6, 7)


def search(report, server, originals, replies):
    """The server must be stopped. `originals`: path to bytes, as they were uploaded."""
    needles, places = {}, []
    for path, data in originals.items():
        for degrees, forms in coordinates(data):
            places.append(degrees)
            for form in forms:
                needles.setdefault(form, path.name)
    with_place = {name for name in needles.values()}
    report.at_least("files with a location in them", len(with_place), 15)
    report.at_least("  coordinates", len(places), 30)
    report.note(f"needles: {len(needles)} encodings")
    forms = b"|".join(re.escape(n) for n in sorted(needles, key=len, reverse=True))
    # The seconds of a time of day, `00:00:11.8815`, are no degrees.
    pattern = re.compile(rb"(?<!\d\d:\d\d:)(?:" + forms + b")")
    named = {path.name: data for path, data in originals.items()}
    blind = [name for name in with_place if not pattern.search(named[name])]
    report.figure("  originals in which the search finds nothing", len(blind), 0)
    report.listing("not found", blind)

    hits, counts = [], {}
    for kind, name, data in haystacks(server, replies):
        n, size = counts.get(kind, (0, 0))
        counts[kind] = (n + 1, size + len(data))
        for match in pattern.finditer(data):
            around = data[max(0, match.start() - 30) : match.end() + 30]
            hits.append(f"{kind}: {name}: of {needles[match.group()]}: {around!r}")
    for kind, (n, size) in sorted(counts.items()):
        report.note(f"searched {n:>6} x {kind:<28} {size / 2**20:8.1f} MiB")
    kinds = {"table file, raw", "table cell", "table picture", "broker cell", "catalog cell", "log", "HTTP reply"}
    report.figure("  kinds of places searched", len(kinds & set(counts)), len(kinds))
    report.figure("location bytes found", len(hits), 0)
    report.listing("location bytes", hits)
    near = [
        (path, value) for path, value in numbers(server)
        if any(abs(abs(value) - abs(place)) < 1e-4 for place in places)
    ]
    report.figure("numbers in tables that are a coordinate", len(near), 0)
    report.listing("numbers", near)


def coordinates(data):
    """(degrees, [byte strings]) of each latitude and longitude that a file tells in
    EXIF or XMP; a file without any gives none."""
    found = []
    with contextlib.suppress(Exception):  # Pillow fails on broken EXIF in many ways
        with Image.open(io.BytesIO(data)) as picture:
            gps = picture.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        for tag, reference in ((2, 1), (4, 3)):
            if len(parts := gps.get(tag, ())) == 3 and any(p.numerator for p in parts):
                pairs = [(p.numerator, p.denominator) for p in parts]
                found.append(encodings(pairs, str(gps.get(reference, ""))))
    # XMP: `26,34.951N`.
    for degrees, minutes, letter in re.findall(rb"GPSL(?:at|ong)itude\W{1,4}(\d+),([\d.]+)([NSEW])", data):
        pairs = [(int(degrees), 1), Fraction(minutes.decode()).as_integer_ratio(), (0, 1)]
        value, forms = encodings(pairs, letter.decode())
        found.append((value, [*forms, degrees + b"," + minutes + letter]))
    return found


def encodings(pairs, letter):
    """One coordinate in every form in which it may have been written."""
    parts = [n / d if d else 0.0 for n, d in pairs]
    value = parts[0] + parts[1] / 60 + parts[2] / 3600
    forms = []
    for order in "<>":
        whole = b"".join(struct.pack(order + "II", n & 0xFFFFFFFF, d & 0xFFFFFFFF) for n, d in pairs)
        forms += [whole, whole[:16]] if pairs[1][0] else [whole]
        forms += [struct.pack(order + "d", value), struct.pack(order + "d", -value)]
    texts = set()
    for digits in DECIMALS:
        texts.add(f"{value:.{digits}f}")
        texts.add(f"{int(value * 10**digits) / 10**digits:.{digits}f}")
    rational = [f"{n}/{d}" for n, d in pairs]
    degrees, minutes, seconds = int(parts[0]), int(parts[1]), parts[2]
    for second in {f"{seconds:g}", f"{seconds:.2f}", f"{seconds:.1f}", f"{int(seconds)}"}:
        for form in ("{}°{}'{}", "{}° {}' {}", "{}deg {}' {}", "{} deg {}' {}", "({}.0, {}.0, {}"):
            texts.add(form.format(degrees, minutes, second))
    texts |= {", ".join(rational), ",".join(rational), " ".join(rational)}
    texts.add(f"{degrees},{minutes + seconds / 60:.4f}")
    forms += [text.encode() for text in texts] + [text.encode("utf-16-le") for text in texts]
    return value, [form for form in forms if len(form) >= 7]


def haystacks(server, replies):
    """(kind, name, bytes) of everything but the originals."""
    folder = server.folder
    for path in sorted((folder / "objects" / "tables").rglob("*")):
        if path.is_file():
            yield "table file, raw", path.name, path.read_bytes()
    for table in sorted((folder / "objects" / "tables").glob("*/*")):
        for path in tables.files(table):
            columns = "* EXCLUDE (image)" if table.name == "photos" else "*"
            for row in tables.query(f"SELECT {columns} FROM t", [path]):
                yield "table cell", row["id"], repr(row).encode()
                for value in row.values():
                    if isinstance(value, bytes):
                        yield "table cell", row["id"], value
        if table.name == "photos":
            for id_, *_, picture in tables.pictures(table):
                yield "table picture", id_, picture
    for kind, path in (("broker", folder / "broker" / "broker.db"), ("catalog", folder / "catalog.db")):
        for cell in cells(path):
            yield f"{kind} cell", path.name, cell
        for file in sorted(path.parent.glob(path.name + "*")):
            yield f"{kind} file, raw", file.name, file.read_bytes()
    for path in (server.out, server.err):
        yield "log", path.name, path.read_bytes()
    for n, reply in enumerate(replies):
        yield "HTTP reply", str(n), reply


def cells(path):
    """Every value of an SQLite database: long ones are not in one piece in its file."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.text_factory = bytes
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in names:
            for row in database.execute(f'SELECT * FROM "{name.decode()}"'):
                for value in row:
                    if value is not None:
                        yield value if isinstance(value, bytes) else str(value).encode()


def numbers(server):
    """(column, value) of every floating-point value in the tables."""
    def walk(name, value):
        if isinstance(value, float):
            yield name, value
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from walk(f"{name}.{key}", inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(name, inner)

    for table in sorted((server.folder / "objects" / "tables").glob("*/*")):
        columns = "* EXCLUDE (image)" if table.name == "photos" else "*"
        for row in tables.query(f"SELECT {columns} FROM t", tables.files(table)):
            yield from walk(table.name, row)
