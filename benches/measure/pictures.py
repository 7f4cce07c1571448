"""Pictures that nobody sent before: seeded, so that each run has the same ones, and so
different from each other that none is anybody's near-duplicate."""

import io
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

PHONE_12MP = (4032, 3024)
HALF_MP = (816, 612)


def drawn(seed, width=320, height=256):
    """A small JPEG of coloured blotches, some 15 KB; milliseconds to make."""
    random = np.random.default_rng([seed, 7])
    coarse = random.integers(0, 256, (8, 10, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain = random.normal(0, 12, (height, width, 1))
    picture = Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=90)
    return data.getvalue()


def phone_photo(source, seed, size=PHONE_12MP):
    """A JPEG like a phone's, of crops of real phone photos: two by two pieces at their
    own resolution, each from a random place of a random photo, half of them mirrored,
    brightness and colour moved a little; quality 90, 4:2:0, no metadata. Pieces are not
    scaled, so that they keep the detail, and the decoder's work, of a real photo."""
    random = np.random.default_rng([seed, size[0]])
    photos = sources(str(source))
    width, height = size[0] // 2, size[1] // 2
    whole = Image.new("RGB", size)
    for place in ((0, 0), (width, 0), (0, height), (width, height)):
        photo = photos[random.integers(len(photos))]
        # Half a megapixel holds more of a scene than a crop of that size would.
        shrink = 1 if size == PHONE_12MP else int(random.integers(2, 5))
        w, h = min(width * shrink, photo.width), min(height * shrink, photo.height)
        x, y = random.integers(photo.width - w + 1), random.integers(photo.height - h + 1)
        piece = photo.crop((int(x), int(y), int(x) + w, int(y) + h))
        if piece.size != (width, height):
            piece = piece.resize((width, height), Image.Resampling.BICUBIC)
        if random.random() < 0.5:
            piece = ImageOps.mirror(piece)
        gain = [float(g) for g in random.uniform(0.8, 1.15, 3)]
        piece = piece.point([min(255, int(v * g)) for g in gain for v in range(256)])
        whole.paste(piece, place)
    data = io.BytesIO()
    whole.save(data, "JPEG", quality=90, subsampling="4:2:0")
    return data.getvalue()


@lru_cache(maxsize=1)
def sources(folder):
    """The real photos, upright, as pixels; about 300 MB."""
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() == ".jpg")
    assert files, f"no photos in {folder}"
    return [ImageOps.exif_transpose(Image.open(f)).convert("RGB") for f in files]


def phone_set(args, name, count, size):
    """A folder of `count` such photos in four class folders; made once, then found again.
    Gives the folder, and the mean bytes of a photo."""
    folder = args.scratch / "made" / f"{name}-{args.seed}-{count}"
    if not folder.is_dir():
        print(f"  making {count} photos of {size[0]}x{size[1]} in {folder}", flush=True)
        unfinished = folder.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        for label in range(4):
            (unfinished / f"class-{label}").mkdir(parents=True)
        jobs = [
            (args.data / "photos" / "phone-large", args.seed * 1_000_000 + n, size,
             unfinished / f"class-{n % 4}" / f"{n:05}.jpg")
            for n in range(count)
        ]
        with ProcessPoolExecutor(args.cores) as pool:
            list(pool.map(make, jobs, chunksize=8))
        unfinished.rename(folder)
    files = list(folder.rglob("*.jpg"))
    assert len(files) == count, f"{folder} has {len(files)} photos; remove it"
    return folder, sum(f.stat().st_size for f in files) / count


def make(job):
    source, seed, size, path = job
    path.write_bytes(phone_photo(source, seed, size))
