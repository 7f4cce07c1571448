"""tuspy as it is: `tus_py.py CASE URL DATASET KEY PHOTO LABEL`."""

import sys
from pathlib import Path

from tusclient.client import TusClient

case, url, dataset, key, photo, label = sys.argv[1:]
size = Path(photo).stat().st_size
client = TusClient(f"{url}/v1/datasets/{dataset}/tus", headers={"Authorization": f"Bearer {key}"})
metadata = {"filename": Path(photo).name, "label": label}
if case == "whole":
    client.uploader(photo, metadata=metadata).upload()
elif case == "in pieces, with checksums":
    client.uploader(photo, chunk_size=size // 4 + 1, metadata=metadata, upload_checksum=True).upload()
elif case == "broken off and gone on with":
    first = client.uploader(photo, chunk_size=size // 4 + 1, metadata=metadata)
    first.upload_chunk()
    first.upload_chunk()
    client.uploader(photo, chunk_size=size // 4 + 1, url=first.url).upload()
elif case == "stream":
    with open(photo, "rb") as stream:
        client.uploader(file_stream=stream, chunk_size=size // 3 + 1, metadata=metadata).upload()
else:
    sys.exit(f"no case {case}")
print("done")
