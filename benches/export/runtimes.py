"""A bundle run by the real runtimes: onnxruntime and the ONNX checker, LiteRT, and
coremltools' loader and spec validation. The bundle, the photos and the logits are those
of `cargo run --example write_models`.

    runtimes.py BUNDLE PHOTOS.rgb CLASSES [REFERENCE]

REFERENCE is on how many photos LiteRT's reference kernels are run, which are slow; 84 if
not given.

Prints one line per format: the largest logit difference to the executor, the top-1
agreement with it, the top-1 accuracy, the size.
"""

import json
import pathlib
import sys

import numpy
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter, OpResolverType


def photos_of(path, preprocess):
    size = preprocess["size"]
    pixels = numpy.fromfile(path, numpy.uint8).reshape(-1, size, size, 3)
    mean, std = (numpy.array(preprocess[key], numpy.float32) for key in ("mean", "std"))
    return pixels, (pixels.astype(numpy.float32) / 255 - mean) / std


def run_onnx(path, plain):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    batches = [plain[:1], plain[1:8]] + [plain[at : at + 16] for at in range(8, len(plain), 16)]
    results = []
    for batch in batches:
        logits, probabilities = session.run(None, {"image": batch.transpose(0, 3, 1, 2)})
        powers = numpy.exp(logits - logits.max(axis=1, keepdims=True))
        expected = powers / powers.sum(axis=1, keepdims=True)
        assert numpy.abs(expected - probabilities).max() < 1e-5
        results.append(logits)
    return numpy.concatenate(results)


def run_tflite(path, photos, resolver):
    interpreter = Interpreter(
        str(path),
        experimental_op_resolver_type=resolver,
        experimental_preserve_all_tensors=True,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    (score,) = interpreter.get_output_details()
    signature = interpreter.get_signature_list()["serving_default"]
    assert signature == {"inputs": ["image"], "outputs": ["score"]}, signature
    # The last step is the softmax; what it reads are the logits.
    logits_at = interpreter._get_ops_details()[-1]["inputs"][0]
    logits, scores = [], []
    for photo in photos:
        interpreter.set_tensor(image["index"], photo[None].astype(image["dtype"]))
        interpreter.invoke()
        scores.append(interpreter.get_tensor(score["index"])[0])
        if resolver == OpResolverType.BUILTIN:
            # Inside the XNNPACK delegate there are no tensors: from the scores, up to a
            # constant, which is given back below.
            logits.append(numpy.log(numpy.maximum(scores[-1], 1e-30)))
        else:
            logits.append(interpreter.get_tensor(logits_at)[0])
    return numpy.array(logits), numpy.array(scores)


def check_coreml(path, labels, preprocess, pixels):
    """Loads and validates the model with coremltools. Core ML itself runs on Apple's systems
    alone, so the layers that coremltools found are put into an ONNX graph, by this script
    and nothing of Tintype's, and run by onnxruntime."""
    import coremltools

    spec = coremltools.utils.load_spec(str(path))
    model = coremltools.models.MLModel(spec, skip_model_load=True)
    assert model.get_spec().WhichOneof("Type") == "neuralNetworkClassifier"
    network = spec.neuralNetworkClassifier
    assert list(network.stringClassLabels.vector) == labels
    (image,) = spec.description.input
    assert image.type.imageType.width == preprocess["size"]
    assert spec.description.predictedFeatureName == "classLabel"
    print(
        f"model.mlmodel         coremltools loads it: version {spec.specificationVersion},"
        f" {len(network.layers)} layers, {spec.description.metadata.author}"
    )
    session = onnxruntime.InferenceSession(as_onnx(network).SerializeToString())
    scaler = network.preprocessing[0].scaler
    bias = [scaler.redBias, scaler.greenBias, scaler.blueBias]
    image = pixels.astype(numpy.float32) * scaler.channelScale + numpy.array(bias, numpy.float32)
    given = [{"image": photo[None]} for photo in image.transpose(0, 3, 1, 2)]
    return numpy.concatenate([session.run(None, feed)[0].reshape(1, -1) for feed in given])


def as_onnx(network):
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []

    def constant(name, params, shape):
        values = numpy.array(params.floatValue, numpy.float32).reshape(shape)
        constants.append(numpy_helper.from_array(values, name))
        return name

    def pads(valid):
        rows, columns = valid.paddingAmounts.borderAmounts
        return [rows.startEdgeSize, columns.startEdgeSize, rows.endEdgeSize, columns.endEdgeSize]

    for layer in network.layers:
        kind, inputs, attributes = layer.WhichOneof("layer"), list(layer.input), {}
        params = getattr(layer, kind)
        if kind == "convolution":
            shape = [params.outputChannels, params.kernelChannels, *params.kernelSize]
            inputs.append(constant(layer.name + ".w", params.weights, shape))
            inputs.append(constant(layer.name + ".b", params.bias, [-1]))
            attributes = {"group": params.nGroups, "strides": list(params.stride)}
            attributes["pads"] = pads(params.valid)
            op = "Conv"
        elif kind == "pooling" and params.globalPooling:
            assert params.type == 1
            op = "GlobalAveragePool"
        elif kind == "pooling":
            assert params.type == 0
            attributes = {"kernel_shape": list(params.kernelSize), "strides": list(params.stride)}
            attributes["pads"] = pads(params.valid)
            op = "MaxPool"
        elif kind == "innerProduct":
            shape = [params.outputChannels, params.inputChannels, 1, 1]
            inputs.append(constant(layer.name + ".w", params.weights, shape))
            inputs.append(constant(layer.name + ".b", params.bias, [-1]))
            op = "Conv"
        elif kind == "clip":
            for bound in ("minVal", "maxVal"):
                name = f"{layer.name}.{bound}"
                value = numpy.float32(getattr(params, bound))
                constants.append(numpy_helper.from_array(numpy.array(value), name))
                inputs.append(name)
            op = "Clip"
        elif kind == "activation":
            assert params.WhichOneof("NonlinearityType") == "ReLU"
            op = "Relu"
        elif kind == "add":
            op = "Add"
        else:
            assert kind == "softmax", kind
            logits = inputs[0]
            continue
        nodes.append(helper.make_node(op, inputs, list(layer.output), **attributes))
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "coreml",
        [tensor("image", TensorProto.FLOAT, [1, 3, None, None])],
        [tensor(logits, TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main():
    bundle, photos, classes = map(pathlib.Path, sys.argv[1:4])
    num_reference = int(sys.argv[4]) if len(sys.argv) > 4 else 84
    preprocess = json.loads((bundle / "preprocess.json").read_text())
    labels = (bundle / "labels.txt").read_text().splitlines()
    pixels, plain = photos_of(photos, preprocess)
    truth = numpy.array(classes.read_text().split(), int)
    expected = numpy.fromfile(bundle / "logits.f32", numpy.float32).reshape(len(plain), -1)
    sizes = {path.name: path.stat().st_size for path in bundle.iterdir()}

    def report(name, runtime, logits):
        wanted = expected[: len(logits)]
        # The constant that a softmax does not keep; scores too small for it are left out.
        shift = (logits - wanted).mean(axis=1, keepdims=True) if "score" in runtime else 0
        kept = wanted > wanted.max(axis=1, keepdims=True) - 20
        difference = (numpy.abs(logits - shift - wanted) * kept).max()
        same = (logits.argmax(1) == wanted.argmax(1)).mean()
        right = (logits.argmax(1) == truth[: len(logits)]).mean()
        share = sizes[name] / sizes["model.tflite"]
        print(
            f"{name:21} {runtime:24} difference {difference:9.2e}  agreement {same:6.1%}"
            f"  top-1 {right:6.1%}  {len(logits):2} photos  {sizes[name]:9} bytes = {share:.3f}"
        )

    print(f"{'executor':46} top-1 {(expected.argmax(1) == truth).mean():.1%}, {len(plain)} photos")
    report("model.onnx", "onnxruntime", run_onnx(bundle / "model.onnx", plain))
    for name, given in (
        ("model.tflite", plain),
        ("model-float16.tflite", plain),
        ("model-int8.tflite", pixels),
    ):
        path = bundle / name
        if not path.exists():
            continue
        for runtime, resolver in (
            ("LiteRT reference", OpResolverType.BUILTIN_REF),
            ("LiteRT built-in", OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES),
            ("LiteRT XNNPACK (score)", OpResolverType.BUILTIN),
        ):
            if runtime == "LiteRT reference" and name != "model-int8.tflite":
                continue
            few = given[:num_reference] if resolver == OpResolverType.BUILTIN_REF else given
            logits, _ = run_tflite(path, few, resolver)
            report(name, runtime, logits)
            if name == "model-int8.tflite" and "score" not in runtime:
                own = numpy.fromfile(bundle / "logits-int8.f32", numpy.float32)
                own = own.reshape(expected.shape)[: len(logits)]
                equal = (own == logits).mean()
                same = (own.argmax(1) == logits.argmax(1)).mean()
                print(f"{'':22}of its logits {equal:.2%} are those of our reader, top-1 {same:.1%}")
    path = bundle / "model.mlmodel"
    report(path.name, "layers in onnxruntime", check_coreml(path, labels, preprocess, pixels))


if __name__ == "__main__":
    main()
