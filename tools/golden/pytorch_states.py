"""Optimizer states as PyTorch saves them, and where trainings go on to, there and back.

    python tools/golden/pytorch_states.py tests/checkpoints/pytorch
    DOWNHILL_WRITE_GOLDEN=1 cargo test --features pytorch --test checkpoints back_to_pytorch
    python tools/golden/pytorch_states.py --go-on tests/checkpoints/pytorch

The first command writes for each optimizer a file of `torch.save(optimizer.state_dict())`
after ten steps of a network of two linear layers, and in `expected.json` the settings that
the optimizer has here, the parameters then, and twenty steps later. The second one writes
into `written` what this library saves for PyTorch after ten steps of its own, and the third
goes on from there and adds where twenty steps lead.

The gradient of element i of parameter p in step t, each counted from 0 and the elements as
torch has them, is cos(0.7·t + 0.3·i + p).
"""

import json
import pathlib
import sys

import numpy
import pytorch_optimizer
import safetensors.torch
import torch
from safetensors import safe_open

# PyTorch's optimizer, its settings, and the same settings here.
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9}, {"momentum": 0.9}),
    "adam": (torch.optim.Adam, {"betas": (0.8, 0.95), "eps": 1e-6}, {"betas": [0.8, 0.95], "eps": 1e-6}),
    "adamw": (
        torch.optim.AdamW,
        {"amsgrad": True, "weight_decay": 0.1},
        {"amsgrad": True, "weight_decay": 0.1},
    ),
    "nadam": (torch.optim.NAdam, {}, {}),
    "radam": (torch.optim.RAdam, {}, {}),
    "adagrad": (torch.optim.Adagrad, {}, {}),
    "rmsprop": (
        torch.optim.RMSprop,
        {"momentum": 0.5, "centered": True},
        {"momentum": 0.5, "centered": True},
    ),
    "adadelta": (torch.optim.Adadelta, {}, {}),
    "adamax": (torch.optim.Adamax, {}, {}),
    "asgd": (torch.optim.ASGD, {"t0": 15}, {"t0": 15}),
    "rprop": (torch.optim.Rprop, {}, {}),
    "adafactor": (torch.optim.Adafactor, {}, {}),
    "lion": (pytorch_optimizer.Lion, {}, {}),
    "adabelief": (pytorch_optimizer.AdaBelief, {}, {}),
    "came": (pytorch_optimizer.CAME, {}, {}),
}


def fresh(name):
    kind, options, _ = OPTIMIZERS[name]
    torch.manual_seed(0)
    model = torch.nn.Sequential()
    model.add_module("hidden", torch.nn.Linear(4, 3))
    model.add_module("output", torch.nn.Linear(3, 3))
    return model, kind(model.parameters(), lr=0.01, **options)


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


def set_values(model, values):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.tensor(values[name]).reshape(parameter.shape))


def save(folder):
    folder.mkdir(parents=True, exist_ok=True)
    expected = {"torch": torch.__version__}
    for name in OPTIMIZERS:
        model, optimizer = fresh(name)
        train(model, optimizer, range(10))
        torch.save(optimizer.state_dict(), folder / f"{name}.pt")
        start = values(model)
        train(model, optimizer, range(10, 30))
        config = {"name": name, **OPTIMIZERS[name][2]}
        expected[name] = {"config": config, "start": start, "end": values(model)}
    write(folder / "expected.json", expected)
    save_otherwise(folder)


def save_otherwise(folder):
    """The training with Adam, saved in other ways."""
    _, options, _ = OPTIMIZERS["adam"]
    model, _ = fresh("adam")
    biases = [p for p in model.parameters() if p.dim() == 1]
    weights = [p for p in model.parameters() if p.dim() == 2]
    groups = [{"params": biases, "weight_decay": 0.0}, {"params": weights, "lr": 0.02}]
    optimizer = torch.optim.Adam(groups, lr=0.01, **options)
    optimizer.param_groups[1]["lr"] = 0.01
    train(model, optimizer, range(10))
    torch.save({"epoch": 3, "optimizer": optimizer.state_dict()}, folder / "two_groups.pt")

    model, _ = fresh("adam")
    named = list(model.named_parameters())[::-1]
    optimizer = torch.optim.Adam(named, lr=0.01, **options)
    train(model, optimizer, range(10))
    torch.save(optimizer.state_dict(), folder / "named.pt")

    # As it was before torch 1.12, and with a rate that is a tensor.
    states = torch.load(folder / "adam.pt")
    for state in states["state"].values():
        state["step"] = int(state["step"])
    states["param_groups"][0]["lr"] = torch.tensor(0.01)
    torch.save(states, folder / "plain_step.pt")


def from_safetensors(file):
    """The state dictionary in a file of safetensors."""
    state = {}
    for key, tensor in safetensors.torch.load_file(file).items():
        _, place, name = key.split(".", 2)
        state.setdefault(int(place), {})[name] = tensor
    with safe_open(file, "pt") as opened:
        groups = json.loads(opened.metadata()["param_groups"])
    return {"state": state, "param_groups": groups}


def go_on(folder):
    written = folder / "written"
    expected = json.loads((written / "expected.json").read_text())
    for name, case in expected.items():
        kind = OPTIMIZERS[name][0]
        states = torch.load(written / f"{name}.pt", weights_only=True)
        assert len(states["param_groups"]) == 1, name
        ends = []
        for states in (states, from_safetensors(written / f"{name}.safetensors")):
            model, optimizer = fresh(name)
            set_values(model, case["start"])
            if not kind.__module__.startswith("torch."):
                # Its settings have other names; the step is the group's.
                own = optimizer.state_dict()["param_groups"]
                step = {"step": states["param_groups"][0]["step"]}
                states["param_groups"] = [{**own[0], **step}]
            optimizer.load_state_dict(states)
            train(model, optimizer, range(10, 30))
            ends.append(values(model))
        assert ends[0] == ends[1], name
        case["end"] = ends[0]
    write(written / "expected.json", expected)


def write(file, contents):
    file.write_text(json.dumps(contents, indent=1) + "\n")


def main():
    *options, folder = sys.argv[1:]
    (go_on if options else save)(pathlib.Path(folder))


if __name__ == "__main__":
    main()
