"""Writes trainer/model/tests/golden.json: what PyTorch computes, for the crate's tests.

Everything comes from a formula (`numbers`), which the tests repeat, so that neither
weights nor photos need to be stored. Run with torch and torchvision from PyPI:

    python3 benches/training/golden.py > trainer/model/tests/golden.json
"""

import json
import sys

import torch
import torchvision

torch.manual_seed(0)
torch.set_num_threads(1)
torch.backends.mkldnn.enabled = True


def numbers(count, stream):
    """`count` numbers in [-1, 1): a linear congruential generator, as in the tests."""
    state, out = (stream * 2654435761 + 12345) % 2**32, []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append((state >> 8) / 2**23 - 1.0)
    return out


def fill(network):
    """Plausible weights, by the sorted names of the state."""
    state = network.state_dict()
    for stream, name in enumerate(n for n in sorted(state) if "num_batches" not in n):
        tensor = state[name]
        values = torch.tensor(numbers(tensor.numel(), stream), dtype=torch.float64)
        if name.endswith("running_var"):
            values = 1.0 + 0.5 * values
        elif name.endswith("running_mean") or name.endswith("bias"):
            values = 0.1 * values
        elif tensor.dim() == 1:
            values = 1.0 + 0.2 * values
        else:
            values = values * (3.0 / tensor[0].numel()) ** 0.5
        state[name] = values.float().reshape(tensor.shape)
    network.load_state_dict(state)
    return network


def make(name, classes):
    if name.startswith("mobilenet_v2"):
        width = float(name.split("_")[2]) if name.count("_") > 1 else 1.0
        network = torchvision.models.mobilenet_v2(num_classes=classes, width_mult=width)
        network.classifier[0].p = 0.0
        return fill(network)
    return fill(getattr(torchvision.models, name)(num_classes=classes))


def images(count, side, stream):
    values = torch.tensor(numbers(count * 3 * side * side, stream), dtype=torch.float64)
    return values.float().reshape(count, 3, side, side)


def forward(name):
    network = make(name, 5).eval()
    with torch.no_grad():
        return {"network": name, "logits": network(images(2, 64, 1000)).flatten().tolist(),
                "parameters": sum(p.numel() for p in make(name, 1000).parameters())}


def train(name, case):
    """Losses of four steps, and sums over the state after them."""
    network = make(name, 4).train()
    head = [p for n, p in network.named_parameters() if n.startswith(("fc.", "classifier."))]
    rest = [p for n, p in network.named_parameters() if not n.startswith(("fc.", "classifier."))]
    decay = case.get("weight_decay", 0.0)
    groups = []
    for rate, group in ((case["head_rate"], head), (case["backbone_rate"], rest)):
        for matrices in (True, False):
            members = [p for p in group if (p.dim() > 1) == matrices]
            groups.append({"params": members, "lr": rate, "weight_decay": decay if matrices else 0.0})
    kind = case["optimizer"]
    optimizer = {
        "sgd": lambda: torch.optim.SGD(groups, lr=1.0, momentum=0.9),
        "nesterov": lambda: torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True),
        "adamw": lambda: torch.optim.AdamW(groups, lr=1.0, eps=1e-3),
        "rmsprop": lambda: torch.optim.RMSprop(groups, lr=1.0, alpha=0.9, momentum=0.5, eps=1e-3),
    }[kind]()
    weights = torch.tensor(case["class_weights"]) if "class_weights" in case else None
    criterion = torch.nn.CrossEntropyLoss(weight=weights, label_smoothing=case.get("smoothing", 0.0))
    losses = []
    for step in range(4):
        labels = torch.tensor([(step + i) % 4 for i in range(6)])
        optimizer.zero_grad()
        loss = criterion(network(images(6, case["side"], 2000 + step)), labels)
        loss.backward()
        if "clip" in case:
            torch.nn.utils.clip_grad_norm_(network.parameters(), case["clip"])
        optimizer.step()
        losses.append(loss.item())
    network.eval()
    with torch.no_grad():
        logits = network(images(2, case["side"], 3000)).flatten().tolist()
    return {"network": name, **case, "losses": losses, "logits_after": logits}


CASES = [
    ("resnet18", {"optimizer": "sgd", "head_rate": 0.005, "backbone_rate": 0.001, "side": 64}),
    ("resnet18", {"optimizer": "nesterov", "head_rate": 0.003, "backbone_rate": 0.001, "side": 64,
                  "weight_decay": 0.05, "smoothing": 0.1, "class_weights": [1.0, 2.0, 0.5, 3.0]}),
    ("mobilenet_v2_0.35", {"optimizer": "sgd", "head_rate": 0.02, "backbone_rate": 0.005, "side": 96,
                           "clip": 0.5}),
    ("mobilenet_v2_0.35", {"optimizer": "adamw", "head_rate": 0.001, "backbone_rate": 0.0003, "side": 96,
                           "weight_decay": 0.1}),
    ("mobilenet_v2_0.35", {"optimizer": "rmsprop", "head_rate": 0.001, "backbone_rate": 0.0001,
                           "side": 96}),
]

NETWORKS = ["mobilenet_v2", "mobilenet_v2_0.5", "mobilenet_v2_0.35", "resnet18", "resnet34", "resnet50"]

json.dump({"torch": torch.__version__, "forward": [forward(n) for n in NETWORKS],
           "training": [train(n, c) for n, c in CASES]}, sys.stdout, indent=1)
print()
