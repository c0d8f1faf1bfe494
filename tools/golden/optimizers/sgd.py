"""SGD."""

import functools

import torch
from cases import FEW_SHAPES, Cases
from formulas import Formula
from libraries import Torch


class SgdVelocity(Formula):
    """Momentum with the learning rate inside the buffer.

    buf = mu buf + lr g;  p -= buf
    Nesterov (Sutskever et al. 2013 as rewritten by Keras): p -= mu buf + lr g

    The buffer is the velocity of the usual `v = mu v - lr g; p += v` with the
    sign turned.
    """

    def setup(self, get):
        self.momentum = get("momentum", 0.0)
        self.nesterov = get("nesterov", False)
        self.weight_decay = get("weight_decay", 0.0)
        self.state["momentum_buffer"] = self.zeros()

    def update(self, t, learning_rate, gradient):
        scaled = learning_rate * gradient
        buffer = self.momentum * self.state["momentum_buffer"] + scaled
        self.state["momentum_buffer"] = buffer
        return self.momentum * buffer + scaled if self.nesterov else buffer


def reference(config, parameter, rates):
    get = config.get
    if get("velocity", False):
        return (
            "formula: momentum with the learning rate inside the buffer",
            SgdVelocity(config, parameter),
        )
    decoupled = get("decoupled_weight_decay", False)
    weight_decay = get("weight_decay", 0.0)
    source = "torch.optim.SGD"
    if decoupled:
        source += " after p *= 1 - learning_rate * weight_decay"
    optimizer = functools.partial(
        torch.optim.SGD,
        momentum=get("momentum", 0.0),
        dampening=get("dampening", 0.0),
        nesterov=get("nesterov", False),
        weight_decay=0.0 if decoupled else weight_decay,
        maximize=get("maximize", False),
    )
    return source, Torch(optimizer, parameter, weight_decay if decoupled else 0.0)


def cases():
    collected = Cases("sgd", 0.05, reference)
    base = {"name": "sgd"}
    momentum = {"momentum": 0.9}
    nesterov = {"momentum": 0.9, "nesterov": True}
    decay = {"weight_decay": 0.1}
    decoupled = {"weight_decay": 0.1, "decoupled_weight_decay": True}
    velocity = {"momentum": 0.9, "velocity": True}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.everywhere("momentum", {**base, **momentum}, FEW_SHAPES)
    collected.options(
        base,
        {
            "momentum_dampening": {"momentum": 0.9, "dampening": 0.3},
            "momentum_nesterov": nesterov,
            "weight_decay": decay,
            "momentum_weight_decay": {**momentum, **decay},
            "momentum_nesterov_weight_decay": {**nesterov, **decay},
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "maximize_momentum_dampening_weight_decay": {
                "momentum": 0.9,
                "dampening": 0.3,
                **decay,
                **up,
            },
            "decoupled": decoupled,
            "decoupled_momentum_nesterov": {**nesterov, **decoupled},
            "decoupled_maximize": {**decoupled, **up},
            "velocity": velocity,
            "velocity_nesterov": {**velocity, "nesterov": True},
            "velocity_weight_decay": {**velocity, **decay},
            "velocity_nesterov_decoupled_maximize": {
                **velocity,
                "nesterov": True,
                **decoupled,
                **up,
            },
        },
    )
    return collected
