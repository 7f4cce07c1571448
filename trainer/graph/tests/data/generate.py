"""Writes the small .pth files of this folder with PyTorch itself: `python3 generate.py`.

What the tensors are stands once more in src/weights/tests.rs.
"""

import collections
import os
import pathlib

import torch

here = pathlib.Path(__file__).parent

base = torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4
state = collections.OrderedDict()
state["float"] = base
state["transposed"] = base.t()
state["slice"] = base[:, 2]
state["half"] = torch.tensor([0.5, -65504.0], dtype=torch.float16)
state["bfloat"] = torch.tensor([-1.5, 3.0e38], dtype=torch.bfloat16)
state["double"] = torch.tensor([0.1], dtype=torch.float64)
state["scalar"] = torch.nn.Parameter(torch.tensor(42.0))
state["num_batches_tracked"] = torch.tensor(7)
state["mask"] = torch.tensor([True, False])
state._metadata = collections.OrderedDict({"": {"version": 1}})

torch.save(state, here / "new.pth")
torch.save(state, here / "old.pth", _use_new_zipfile_serialization=False)
torch.save({"epoch": 3, "best": 0.5, "names": ["a"], "state_dict": state}, here / "wrapped.pth")
torch.save({f"module.{name}": tensor for name, tensor in state.items()}, here / "parallel.pth")


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


torch.save({"float": Evil()}, here / "evil.pth")
