"""The `edgeimpulse` package as it is, but for the address: `edge_impulse.py CASE URL KEY PHOTO LABEL`."""

import sys
from pathlib import Path

import edgeimpulse as ei
from edgeimpulse import data

case, url, key, photo, label = sys.argv[1:]
ei.API_KEY, ei.INGESTION_ENDPOINT = key, url
if case == "upload_samples":
    sample = data.Sample(filename=Path(photo).name, data=Path(photo).read_bytes(), category="split", label=label)
    answer = data.upload_samples([sample])
elif case == "upload_directory":
    answer = data.upload_directory(str(Path(photo).parent), category="training", label=label)
elif case == "known already":
    sample = data.Sample(filename=Path(photo).name, data=Path(photo).read_bytes(), category="training", label=label)
    data.upload_samples([sample])
    answer = data.upload_samples([sample], allow_duplicates=False)
    told = [(fail.success, fail.error) for fail in answer.fails]
    assert not answer.successes and "already exists" in str(told), told
    print("done")
    sys.exit()
else:
    sys.exit(f"no case {case}")
assert len(answer.successes) == 1 and not answer.fails, answer.fails
print("done")
