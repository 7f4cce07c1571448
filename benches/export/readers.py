"""A bundle's TFLite files in the hands of those who read metadata. Each part needs its own
environment, for their dependencies exclude each other:

    readers.py mediapipe BUNDLE PHOTOS.rgb     (pip install mediapipe)
    readers.py tflite-support BUNDLE           (pip install tflite-support, and libusb-1.0)
"""

import json
import pathlib
import sys

FILES = ["model.tflite", "model-float16.tflite", "model-int8.tflite"]


def mediapipe(bundle, photos):
    """MediaPipe's own image classifier, which prepares each picture as the metadata says."""
    import mediapipe
    import numpy
    from mediapipe.tasks import python
    from mediapipe.tasks.python import vision

    labels = (bundle / "labels.txt").read_text().splitlines()
    size = json.loads((bundle / "preprocess.json").read_text())["size"]
    pixels = numpy.fromfile(photos, numpy.uint8).reshape(-1, size, size, 3)
    expected = numpy.fromfile(bundle / "logits.f32", numpy.float32).reshape(len(pixels), -1)
    for name in FILES:
        options = vision.ImageClassifierOptions(
            base_options=python.BaseOptions(model_asset_path=str(bundle / name)), max_results=1
        )
        classifier = vision.ImageClassifier.create_from_options(options)
        same, difference = 0, 0.0
        for picture, logits in zip(pixels, expected):
            image = mediapipe.Image(
                image_format=mediapipe.ImageFormat.SRGB, data=numpy.ascontiguousarray(picture)
            )
            (head,) = classifier.classify(image).classifications
            (category,) = head.categories
            assert head.head_name == "score"
            assert category.category_name == labels[category.index]
            powers = numpy.exp(logits - logits.max())
            same += category.index == logits.argmax()
            probability = powers[category.index] / powers.sum()
            difference = max(difference, abs(probability - category.score))
        classifier.close()
        print(f"{name:21} MediaPipe: {same} of {len(pixels)} as the executor, score +- {difference:.1e}")


def tflite_support(bundle):
    from tflite_support import metadata

    labels = (bundle / "labels.txt").read_bytes()
    for name in FILES:
        displayer = metadata.MetadataDisplayer.with_model_file(str(bundle / name))
        assert displayer.get_packed_associated_file_list() == ["labels.txt"]
        assert displayer.get_associated_file_buffer("labels.txt") == labels
        (subgraph,) = json.loads(displayer.get_metadata_json())["subgraph_metadata"]
        (image,) = subgraph["input_tensor_metadata"]
        (score,) = subgraph["output_tensor_metadata"]
        (unit,) = image["process_units"]
        assert unit == {
            "options_type": "NormalizationOptions",
            "options": {"mean": [0.0], "std": [255.0]},
        }
        assert image["content"]["content_properties"]["color_space"] == "RGB"
        assert score["associated_files"][0]["type"] == "TENSOR_AXIS_LABELS"
        print(f"{name:21} tflite-support reads its metadata and {len(labels.splitlines())} labels")


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    folder = pathlib.Path(folder)
    mediapipe(folder, rest[0]) if what == "mediapipe" else tflite_support(folder)
