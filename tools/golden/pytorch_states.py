"""Writes optimizer states as PyTorch saves them, and where the trainings go on to.

    python tools/golden/pytorch_states.py tests/checkpoints/pytorch

For each optimizer a file of `torch.save(optimizer.state_dict())` after ten steps of a
network of two linear layers, and in `expected.json` the parameters then and twenty steps
later. The gradient of element i of parameter p in step t, each counted from 0 and the
elements as torch has them, is cos(0.7·t + 0.3·i + p).
"""

import json
import pathlib
import sys

import numpy
import torch

OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
    "adam": (torch.optim.Adam, {"betas": (0.8, 0.95), "eps": 1e-6}),
    "adamw": (torch.optim.AdamW, {"amsgrad": True, "weight_decay": 0.1}),
    "nadam": (torch.optim.NAdam, {}),
    "radam": (torch.optim.RAdam, {}),
    "adagrad": (torch.optim.Adagrad, {}),
    "rmsprop": (torch.optim.RMSprop, {"momentum": 0.5, "centered": True}),
    "adadelta": (torch.optim.Adadelta, {}),
    "adamax": (torch.optim.Adamax, {}),
    "asgd": (torch.optim.ASGD, {"t0": 15}),
    "rprop": (torch.optim.Rprop, {}),
}


def train(model, optimizer, steps):
    for t in steps:
        for at, parameter in enumerate(model.parameters()):
            elements = numpy.arange(parameter.numel())
            gradient = numpy.cos(0.7 * t + 0.3 * elements + at)
            gradient = torch.from_numpy(gradient).float()
            parameter.grad = gradient.reshape(parameter.shape)
        optimizer.step()


def values(model):
    return {
        name: parameter.detach().flatten().tolist()
        for name, parameter in model.named_parameters()
    }


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    expected = {"torch": torch.__version__}
    for name, (kind, options) in OPTIMIZERS.items():
        torch.manual_seed(0)
        model = torch.nn.Sequential()
        model.add_module("hidden", torch.nn.Linear(4, 3))
        model.add_module("output", torch.nn.Linear(3, 3))
        optimizer = kind(model.parameters(), lr=0.01, **options)
        train(model, optimizer, range(10))
        torch.save(optimizer.state_dict(), folder / f"{name}.pt")
        start = values(model)
        train(model, optimizer, range(10, 30))
        expected[name] = {"start": start, "end": values(model)}
    text = json.dumps(expected, indent=1)
    (folder / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
