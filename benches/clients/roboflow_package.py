"""The `roboflow` package as it is; API_URL in the environment names our server:
`roboflow_package.py CASE DATASET KEY PHOTO LABEL`."""

import sys
import tempfile
from pathlib import Path

from roboflow import Roboflow

case, dataset, key, photo, label = sys.argv[1:]
project = Roboflow(api_key=key).workspace().project(dataset)
# For classification an annotation is simply the name of the class.
if case == "single_upload":
    project.single_upload(image_path=photo, annotation_path=label, batch_name="bench", tag_names=["a"], split="train")
elif case == "upload":
    with tempfile.TemporaryDirectory():
        project.upload(image_path=photo, annotation_path=label, split="train", num_retry_uploads=1)
else:
    sys.exit(f"no case {case}")
print("done", Path(photo).name)
