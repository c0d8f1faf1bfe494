"""Writes tests/golden_model/quad.json: models of two tensors.

    python tools/golden/quad.py            write the file
    python tools/golden/quad.py --check    compare with the file instead

The optimizers and wrappers whose steps depend on the whole model, on the quadratic

    loss = 1/2 sum(A p^2),  g = A p

over the elements of both tensors, `curvature` being A and `start` the first p.
"""

import argparse
import json
import os
import pathlib
import sys
import types

# Both are read when the libraries are loaded; see generate.py.
os.environ["ATEN_CPU_CAPABILITY"] = "default"
os.environ["XLA_FLAGS"] = "--xla_cpu_max_isa=SSE4_2"
os.environ["JAX_PLATFORMS"] = "cpu"
sys.dont_write_bytecode = True

import libraries
import numpy as np
import optax.contrib
import pytorch_optimizer
import torch
from cases import Cases
from optimizers import dadapt_adam, dadapt_sgd, dog, dowg, momo, momo_adam, prodigy

PATH = pathlib.Path(__file__).resolve().parents[2] / "tests/golden_model/quad.json"

START = {"w": [[0.5, -1.0, 2.0], [-0.25, 0.75, 1.5]], "b": [0.3, -0.7, 1.1]}
CURVATURE = {"w": [[1.0, 2.0, 0.5], [0.1, 3.0, 1.0]], "b": [2.0, 0.5, 1.0]}
STEPS = 50
SAM_STEPS = 10
PACKAGES = (
    "prodigyopt",
    "dadaptation",
    "dog-optimizer",
    "momo-opt",
    "pytorch_optimizer",
)


class Model:
    """The quadratic with torch's tensors; `names` are those of `START` to have."""

    def __init__(self, names):
        self.tensors = {
            name: torch.nn.Parameter(torch.tensor(START[name])) for name in names
        }
        self.curvature = [torch.tensor(CURVATURE[name]) for name in names]

    def parameters(self):
        return list(self.tensors.values())

    def backward(self):
        """Sets the gradients and returns the loss."""
        loss = 0.0
        for tensor, curvature in zip(self.tensors.values(), self.curvature):
            tensor.grad = (curvature * tensor).detach()
            loss += 0.5 * torch.sum(tensor.grad * tensor.detach())
        return loss

    def values(self):
        return {name: x.detach().numpy() for name, x in self.tensors.items()}


def descend(module, config, learning_rate, names=("w", "b"), steps=STEPS):
    """With the optimizer of a file of `optimizers`: source, values and numbers."""
    source, make = module.library(config)
    model = Model(names)
    optimizer = make(model.parameters())
    (group,) = optimizer.param_groups
    group["lr"] = learning_rate
    for _ in range(steps):
        loss = model.backward()
        told = {"loss": loss} if module in (momo, momo_adam) else {}
        optimizer.step(**told)
    return source, model.values(), module.numbers(optimizer)


def descend_optax(transformation, names, steps):
    params = {name: np.array(START[name]) for name in names}
    state = transformation.init(params)
    for _ in range(steps):
        gradients = {name: np.array(CURVATURE[name]) * params[name] for name in names}
        updates, state = transformation.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    values = {name: np.asarray(params[name]) for name in names}
    assert all(x.dtype == np.float64 for x in values.values())
    return values, state


def descend_dowg(config, learning_rate, names=("w", "b"), steps=STEPS):
    made = dowg.transformation(config, [learning_rate] * steps)
    values, state = descend_optax(made, names, steps)
    return "optax.contrib.dowg", values, dowg.numbers(state)


def descend_mechanic(config, learning_rate, names=("w", "b"), steps=STEPS):
    made = optax.contrib.mechanize(optax.sgd(learning_rate))
    values, state = descend_optax(made, names, steps)
    numbers = {name: getattr(state, name) for name in ("s", "m", "v", "r")}
    return "optax.contrib.mechanize around optax.sgd", values, numbers


def squared_norm(groups, device=None, *, weight_adaptive=False):
    """pytorch_optimizer's get_global_gradient_norm, which is in float32, in float64."""
    total = torch.zeros(1)
    for group in groups:
        for tensor in group["params"]:
            grad = tensor.grad
            if weight_adaptive and group.get("adaptive", False):
                grad = grad * tensor.abs()
            total += torch.sum(grad * grad)
    return total


def perturbed(kind, model, learning_rate, options):
    """The function that takes a step with one of the library's kinds of SAM."""
    sgd = torch.optim.SGD
    if kind is pytorch_optimizer.GSAM:
        options = dict(options)
        rho = options.pop("rho")
        optimizer = kind(
            model.parameters(),
            sgd(model.parameters(), lr=learning_rate),
            torch.nn.Module(),
            types.SimpleNamespace(step=lambda: rho),
            **options,
        )
        # Calls it for both of the gradients.
        return lambda: optimizer.step(lambda: (None, model.backward()))

    optimizer = kind(model.parameters(), sgd, lr=learning_rate, **options)

    def step():
        model.backward()
        optimizer.step(model.backward)

    return step


def descend_sam(kind, config, learning_rate, names=("w", "b"), steps=SAM_STEPS):
    model = Model(names)
    options = {name: x for name, x in config.items() if name != "optimizer"}
    library = sys.modules[kind.__module__]
    original = library.get_global_gradient_norm
    library.get_global_gradient_norm = squared_norm
    try:
        step = perturbed(kind, model, learning_rate, options)
        for _ in range(steps):
            step()
    finally:
        library.get_global_gradient_norm = original
    source = f"pytorch_optimizer.{kind.__name__} around torch.optim.SGD"
    return f"{source}, its norm in float64", model.values(), {}


SAM = {
    "sam": (pytorch_optimizer.SAM, {"rho": 0.05}),
    "asam": (pytorch_optimizer.SAM, {"rho": 0.5, "adaptive": True}),
    "gsam": (pytorch_optimizer.GSAM, {"rho": 0.05, "alpha": 0.4}),
    "looksam": (pytorch_optimizer.LookSAM, {"k": 2, "rho": 0.1, "alpha": 0.7}),
}


def lists(value):
    return np.asarray(value, dtype=np.float64).tolist()


def record(head, config, learning_rate, steps, result):
    source, values, numbers = result
    return {
        **head,
        "source": source,
        "config": config,
        "learning_rate": learning_rate,
        "steps": steps,
        **{name: lists(x) for name, x in values.items()},
        "model": {name: lists(x) for name, x in numbers.items()},
    }


def records():
    corrected = {"use_bias_correction": True}
    table = (
        (prodigy, 1.0, ({}, corrected, {"weight_decay": 0.1}, {"growth_rate": 1.02})),
        (dadapt_adam, 1.0, ({}, corrected)),
        (dadapt_sgd, 1.0, ({}, {"momentum": 0.9})),
        (dog, 1.0, ({},)),
        (dowg, 1.0, ({},)),
        (momo, 1.0, ({},)),
        (momo, 0.1, ({},)),
        (momo_adam, 0.01, ({},)),
        (momo_adam, 0.1, ({},)),
    )
    for module, rate, changes in table:
        name = module.__name__.rpartition(".")[2]
        for change in changes:
            config = {"name": name, **change}
            if module is dowg:
                result = descend_dowg(config, rate)
            else:
                result = descend(module, config, rate)
            yield record({"name": name}, config, rate, STEPS, result)
    sgd = {"optimizer": {"name": "sgd"}}
    for name, (kind, options) in SAM.items():
        result = descend_sam(kind, options, 0.1)
        head = {"name": "sgd", "wrapper": name}
        yield record(head, {**options, **sgd}, 0.1, SAM_STEPS, result)
    head = {"name": "sgd", "wrapper": "mechanic"}
    yield record(head, sgd, 1.0, STEPS, descend_mechanic(sgd, 1.0))


def text():
    # Its versions of the libraries.
    head = json.loads(Cases("quad", None, None, PACKAGES).text())
    head = {
        "generator": "tools/golden/quad.py",
        "reference": head["reference"],
        "start": START,
        "curvature": CURVATURE,
    }
    lines = [
        json.dumps(case, separators=(",", ":"), allow_nan=False) for case in records()
    ]
    opening = json.dumps(head)[:-1] + ', "cases": [\n'
    return opening + ",\n".join(lines) + "\n]}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; fail if the file differs from what would be written",
    )
    check = parser.parse_args().check
    new = text()
    if not check:
        PATH.parent.mkdir(exist_ok=True)
        PATH.write_text(new, newline="\n")
    elif not PATH.exists() or PATH.read_text() != new:
        sys.exit(f"different: {PATH.name}")


if __name__ == "__main__":
    main()
