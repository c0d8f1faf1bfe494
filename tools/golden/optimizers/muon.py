"""Muon, and under names of their own what its authors and others set."""

import functools
import inspect

import torch
from cases import Cases
from libraries import Torch
from matrices import (
    COEFFICIENT_SETS,
    EVERYTHING,
    MATRICES,
    TWO_MATRICES,
    Layout,
    Orthogonal,
    collect,
    collect_common,
    fallback,
    is_matrix,
)

# Keller Jordan's own code, Moonlight's (arXiv:2502.16982) and timm.optim.Muon. Their
# bf16 is not followed, nor is that the first two add epsilon to the norm.
ADAMW = {"name": "adamw", "beta_1": 0.9, "beta_2": 0.95}
PRESETS = {
    "muon_keller_jordan": {
        "weight_decay": 0.0,
        "fallback": {**ADAMW, "epsilon": 1e-10, "weight_decay": 0.0},
        "fallback_rate": 0.015,
    },
    "muon_moonlight": {
        "ema_momentum": False,
        "adjust_lr": "match_rms_adamw",
        "fallback": {**ADAMW, "epsilon": 1e-8, "weight_decay": 0.1},
    },
    # timm has one epsilon, here for both.
    "muon_timm": {
        "weight_decay": 0.0,
        "nesterov": False,
        "ns_coefficients": "quintic",
        "adjust_lr": "match_rms_adamw",
        "fallback": {**ADAMW, "epsilon": 1e-7, "weight_decay": 0.0},
    },
}


def in_gradients_type():
    """torch.optim.Muon iterates in the type of the gradient instead of in bfloat16."""
    module = torch.optim._muon
    source = inspect.getsource(module._zeropower_via_newtonschulz)
    assert source.count("torch.bfloat16") == 1
    exec(source.replace("torch.bfloat16", "grad.dtype"), vars(module))


in_gradients_type()


class InTorch(Torch):
    """torch.optim.Muon, which has matrices [out, in] only."""

    def __init__(self, optimizer, parameter, layout, maximize):
        self.layout = layout
        parts = layout.split(parameter)
        self.tensors = [torch.nn.Parameter(torch.tensor(part)) for part in parts]
        self.optimizer = optimizer(self.tensors)
        self.sign = -1.0 if maximize else 1.0

    def step(self, t, learning_rate, gradient):
        self.optimizer.param_groups[0]["lr"] = learning_rate
        parts = self.layout.split(self.sign * gradient)
        for tensor, part in zip(self.tensors, parts, strict=True):
            tensor.grad = torch.tensor(part)
        self.optimizer.step()

    @property
    def parameter(self):
        return self.layout.join([x.detach().numpy() for x in self.tensors])

    @property
    def state(self):
        held = [self.optimizer.state[x] for x in self.tensors]
        buffers = [x["momentum_buffer"].numpy() for x in held]
        return {"momentum_buffer": self.layout.join(buffers)}


class Muon(Orthogonal):
    """p -= lr scale O.

    https://kellerjordan.github.io/posts/muon/, as torch.optim.Muon has it.
    """

    WEIGHT_DECAY = 0.1

    def update(self, t, learning_rate, gradient):
        o = self.orthogonalized(self.ahead(gradient))
        return learning_rate * self.scale * o


# What torch.optim.Muon does not have, and what it has in its place.
ALWAYS = {
    "ema_momentum": True,
    "ns_coefficients": "original",
    "safety_factor": 1.0,
    "weight_decay_kind": "decoupled",
}


def reference(config, parameter, rates):
    config = {**PRESETS.get(config.get("name"), {}), **config}
    get = config.get
    if not is_matrix(parameter.shape):
        return fallback(config, parameter, rates)
    if any(get(name, value) != value for name, value in ALWAYS.items()):
        source = "formula: torch.optim.Muon with timm's zeropower_via_newtonschulz"
        return source, Muon(config, parameter)
    optimizer = functools.partial(
        torch.optim.Muon,
        weight_decay=get("weight_decay", 0.1),
        momentum=get("momentum", 0.95),
        nesterov=get("nesterov", True),
        eps=get("epsilon", 1e-7),
        ns_steps=get("ns_steps", 5),
        adjust_lr_fn=get("adjust_lr", "original"),
    )
    layout = Layout(config, parameter.shape)
    source = "torch.optim.Muon, iterating in float64"
    return source, InTorch(optimizer, parameter, layout, get("maximize", False))


def cases():
    collected = Cases("muon", 0.01, reference, ("timm",), single=10)
    base = {"name": "muon"}
    match = {"adjust_lr": "match_rms_adamw"}
    spectral = {"adjust_lr": "spectral_unclamped"}
    collect_common(collected, base, spectral)
    collect(collected, base, {"match_rms_adamw": match}, (*MATRICES, [3, 4, 5]))
    collect(
        collected,
        base,
        {"spectral_unclamped": spectral},
        ([4, 3], [3, 8], [8, 3], [3, 4, 5]),
    )
    no_decay = {"weight_decay_zero": {"weight_decay": 0.0}}
    collect(collected, base, no_decay, TWO_MATRICES)
    collect(collected, base, {"everything": {**EVERYTHING, **match}}, MATRICES)
    quintic = {"quintic": COEFFICIENT_SETS["quintic"]}
    collect(collected, base, quintic, ([2, 3, 4, 5],))
    # A convolution of every channel alone.
    collect(collected, base, {"default": {}}, ([6, 1, 2, 2],))
    for name in PRESETS:
        collect(collected, {"name": name}, {name: {}}, ([7], [4, 3], [3, 8], [4, 3, 2]))
        guarded = {f"{name}_epsilon": {"epsilon": 10.0}}
        collect(collected, {"name": name}, guarded, ([4, 3],))
    return collected
