"""The tables as a user reads them: `deltalake` for the log, DuckDB for SQL, Pillow
for the pictures, Hugging Face `datasets` for the shards. Nothing of Tintype's own."""

import io
import os
import urllib.parse
from collections import Counter

import deltalake
import duckdb
from PIL import Image


def files(folder):
    """Paths of the Parquet files that the newest version of a table names."""
    if not (folder / "_delta_log").is_dir():
        return []
    paths = deltalake.DeltaTable(str(folder)).file_uris()
    return [urllib.parse.unquote(p.removeprefix("file://")) for p in paths]


def version(folder):
    return deltalake.DeltaTable(str(folder)).version()


def query(sql, paths):
    """Rows of a query over the files, which it calls `t`; dicts by column name."""
    if not paths:
        return []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'")
        connection.execute(f"CREATE VIEW t AS SELECT * FROM read_parquet({paths!r})")
        return connection.sql(sql).to_arrow_table().to_pylist()


def rows(folder):
    """All rows of a photos table without the pictures."""
    return query("SELECT * EXCLUDE (image), octet_length(image.bytes) AS image_bytes FROM t", files(folder))


def pictures(folder):
    """(id, sha256 of the original, width, height, JPEG bytes), a file at a time."""
    for path in files(folder):
        sql = "SELECT id, original.sha256 AS sha256, width, height, image.bytes AS bytes FROM t"
        for row in query(sql, [path]):
            yield row["id"], row["sha256"], row["width"], row["height"], bytes(row["bytes"])


def check_photos(report, folder, accepted_ids, labels_by_hash, objects):
    """Checks a photos table against the ids that the API calls accepted, the labels
    that belong to each file's hash, and the object store's folder."""
    found = rows(folder)
    ids = Counter(row["id"] for row in found)
    report.figure("rows of the photos table", len(found), len(accepted_ids))
    report.figure("  accepted ids that are not there exactly once", sum(ids[i] != 1 for i in accepted_ids), 0)
    report.figure("  rows that no accepted id stands for", sum(i not in accepted_ids for i in ids), 0)
    wrong = [r["id"] for r in found if r["label"] not in labels_by_hash.get(r["original"]["sha256"], ())]
    report.figure("  labels that are not the folder's name", len(wrong), 0)
    dangling = [r["id"] for r in found if not (objects / r["original"]["key"]).is_file()]
    report.figure("  originals that are not in the store", len(dangling), 0)
    missing = [p for p in files(folder) if not os.path.isfile(p)]
    report.figure("  files of the table that are not there", len(missing), 0)
    report.figure("  pictures that do not decode to the stated size", len(wrong_pictures(folder)), 0)


def wrong_pictures(folder):
    """Ids whose JPEG does not decode whole to its row's width and height."""
    wrong = []
    for id_, _, width, height, data in pictures(folder):
        try:
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
                if picture.format != "JPEG" or picture.size != (width, height):
                    wrong.append(id_)
        except OSError:
            wrong.append(id_)
    return wrong


def check_rejections(report, folder, captures):
    """Each capture that was judged behind the door and not accepted has one row; exact
    copies that were known at the door have none."""
    found = query("SELECT id, status, reason FROM t", files(folder))
    ids = Counter(row["id"] for row in found)
    status = {c["id"]: c["status"] for c in captures}
    report.figure("rows of the rejections table", len(found))
    report.figure("  ids that are there more than once", sum(n > 1 for n in ids.values()), 0)
    report.figure("  rows that the API tells otherwise", sum(status.get(r["id"]) != r["status"] for r in found), 0)
    unnamed = [c["id"] for c in captures if c["status"] in ("review", "rejected") and c["id"] not in ids]
    report.figure("  review and rejected captures without a row", len(unnamed), 0)


def check_hugging_face(report, folder, cache):
    """Loads the shards with `datasets`: pictures must be pictures, labels text."""
    import datasets

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(
        "parquet", data_files=files(folder), split="train", cache_dir=str(cache)
    )
    image, label = loaded.features["image"], loaded.features["label"]
    report.figure("Hugging Face: rows", loaded.num_rows, len(rows(folder)))
    report.figure("  type of `image`", type(image).__name__, "Image")
    report.figure("  type of `label`", getattr(label, "dtype", "?"), "string")
    first = loaded[0]
    is_picture = isinstance(first["image"], Image.Image) and first["image"].size == (first["width"], first["height"])
    report.figure("  the first example is a picture of its size", is_picture, True)
