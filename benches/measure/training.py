"""The preset `fast` (and others, with TINTYPE_BENCH_PRESETS) on trashnet: accuracy on the
leak-free test split and seconds, beside scikit-learn's logistic regression on the very
features that the exported network computes, under the same split."""

import io
import json
import os
import shutil
import time

import numpy
from PIL import Image

from . import report as reports
from .server import Server

SIDE = 224


def run(args):
    report = reports.Report("training", args.scratch)
    folder = args.scratch / "training"
    shutil.rmtree(folder, ignore_errors=True)
    weights = args.data / "weights"
    if not weights.is_dir():
        report.note(f"no weights in {weights}: nothing is measured")
        return report.end()
    with Server(args.tintype, folder / "up", weights=weights, fetch_weights="false") as server:
        server.import_folder(args.data / "photos" / "trashnet", "trash", "--create")
        server.settle("trash")
        model, training = train(server, {"preset": "fast"})
        tell(report, "fast", model, training)
        peer(report, server, folder, model, training)
        for preset in filter(None, os.environ.get("TINTYPE_BENCH_PRESETS", "").split(",")):
            model, training = train(server, {"preset": preset})
            tell(report, preset, model, training)
    return report.end()


def train(server, spec):
    begun = time.monotonic()
    headers = {"Content-Type": "application/json"}
    status, _, answer = server.request("POST", "/v1/datasets/trash/trainings", json.dumps(spec), headers)
    if status != 202:
        raise RuntimeError(f"training answered {status}: {answer!r}")
    id_ = json.loads(answer)["id"]
    while True:
        training = server.get(f"/v1/trainings/{id_}")
        if training["state"] not in ("queued", "running"):
            break
        time.sleep(0.1)
    if training["state"] != "succeeded":
        raise RuntimeError(f"training {training['state']}: {training.get('error')}")
    training["wall"] = time.monotonic() - begun
    return server.get(f"/v1/models/{training['model_id']}"), training


def tell(report, preset, model, training):
    evaluation = model["evaluation"]
    for split in ("train", "validation", "test"):
        part = evaluation[split]
        report.figure(f"{preset}: {split} accuracy ({part['num_photos']} photos)", round(part["accuracy"], 4))
    leaky = evaluation.get("random_split_accuracy")
    if leaky is not None:
        report.figure(f"{preset}: test accuracy, had the split leaked", round(leaky, 4))
    report.figure(f"{preset}: from asking to model, s", round(training["wall"], 1))
    for stage, seconds in training["progress"]["seconds"].items():
        report.note(f"   {seconds:8.2f} s  {stage}")
    for file in model["files"]:
        report.note(f"   {file['bytes']:>10}  {file['name']}")
    for note in training["progress"].get("notes", []):
        report.note(f"   note: {note}")


def peer(report, server, folder, model, training):
    """scikit-learn on the features that the exported ONNX file computes."""
    import onnx
    import onnxruntime
    from deltalake import DeltaTable
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    status, _, file = server.request("GET", f"/v1/models/{model['id']}/files/model.onnx")
    assert status == 200
    network = onnx.load_from_string(file)
    head = next(node for node in network.graph.node if node.op_type == "Gemm")
    network.graph.output.append(onnx.helper.make_tensor_value_info(head.input[0], onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    table = DeltaTable(str(next((folder / "up" / "objects" / "tables").glob("trash-*")) / "photos"))
    rows = table.to_pyarrow_table(columns=["label", "split", "image"]).to_pylist()
    features = numpy.concatenate([
        session.run([head.input[0]], {"image": pixels(row["image"]["bytes"])[None]})[0] for row in rows
    ])
    labels = numpy.array([model["labels"].index(row["label"]) for row in rows])
    splits = numpy.array([row["split"] for row in rows])
    learn, judge = splits == "train", splits == "test"
    # The same choice as ours: of three strengths the one with the lowest validation loss.
    choose = splits == "validation"
    begun = time.monotonic()
    fits = [LogisticRegression(C=c, max_iter=1000).fit(features[learn], labels[learn]) for c in (0.1, 1.0, 10.0)]
    losses = [log_loss(labels[choose], fit.predict_proba(features[choose]), labels=range(len(model["labels"]))) for fit in fits]
    fitted = fits[int(numpy.argmin(losses))]
    seconds = time.monotonic() - begun
    accuracy = fitted.score(features[judge], labels[judge])
    ours = model["evaluation"]["test"]["accuracy"]
    report.figure(f"scikit-learn, C = {fitted.C} by validation loss: test accuracy", round(accuracy, 4))
    report.figure("scikit-learn, C = 1: test accuracy", round(fits[1].score(features[judge], labels[judge]), 4))
    report.at_least("test accuracy, ours - scikit-learn, points", round(100 * (ours - accuracy), 2), -1.0)
    fit = training["progress"]["seconds"]["fitting the head"]
    report.figure("scikit-learn: three fits, s", round(seconds, 3))
    report.figure("ours: three fits, s", round(fit, 3))
    report.at_least("time to fit, scikit-learn / ours", round(seconds / fit, 2), 1.0)

def pixels(jpeg):
    picture = numpy.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), numpy.float32) / 255
    top, left = (picture.shape[0] - SIDE) // 2, (picture.shape[1] - SIDE) // 2
    return picture[top:top + SIDE, left:left + SIDE].transpose(2, 0, 1)
