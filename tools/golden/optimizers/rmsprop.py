"""RMSprop."""

import functools

import numpy as np
import optax
import torch
from cases import FEW_SHAPES, Cases
from formulas import Formula
from libraries import Optax, Torch, find, schedule


class RmspropInsideRoot(Formula):
    """RMSprop with epsilon inside the root, momentum in torch's order.

    u = g / sqrt(v + eps), or g / sqrt(v - m^2 + eps) when centered
    buf = mu buf + u;  p -= lr buf
    """

    def setup(self, get):
        self.alpha = get("alpha", 0.99)
        self.epsilon = get("epsilon", 1e-8)
        self.centered = get("centered", False)
        self.momentum = get("momentum", 0.0)
        self.weight_decay = get("weight_decay", 0.0)
        self.state["square_avg"] = self.zeros()
        if self.centered:
            self.state["grad_avg"] = self.zeros()
        if self.momentum != 0.0:
            self.state["momentum_buffer"] = self.zeros()

    def update(self, t, learning_rate, gradient):
        a, state = self.alpha, self.state
        state["square_avg"] = a * state["square_avg"] + (1.0 - a) * gradient * gradient
        variance = state["square_avg"]
        if self.centered:
            state["grad_avg"] = a * state["grad_avg"] + (1.0 - a) * gradient
            variance = variance - state["grad_avg"] * state["grad_avg"]
        u = gradient / np.sqrt(variance + self.epsilon)
        if self.momentum != 0.0:
            u = self.momentum * state["momentum_buffer"] + u
            state["momentum_buffer"] = u
        return learning_rate * u


def reference(config, parameter, rates):
    get = config.get
    if get("epsilon_inside_root", False):
        if get("momentum", 0.0) != 0.0:
            # optax multiplies by the learning rate before the momentum buffer,
            # torch after it.
            return (
                "formula: torch.optim.RMSprop with epsilon inside the root",
                RmspropInsideRoot(config, parameter),
            )
        centered = get("centered", False)
        transformation = optax.chain(
            optax.add_decayed_weights(get("weight_decay", 0.0)),
            optax.rmsprop(
                schedule(rates),
                decay=get("alpha", 0.99),
                eps=get("epsilon", 1e-8),
                eps_in_sqrt=True,
                centered=centered,
            ),
        )

        def read(state):
            if centered:
                part = find(state, optax.ScaleByRStdDevState)
                return {"square_avg": part.nu, "grad_avg": part.mu}
            return {"square_avg": find(state, optax.ScaleByRmsState).nu}

        return "optax.rmsprop", Optax(
            transformation, parameter, read, get("maximize", False)
        )
    optimizer = functools.partial(
        torch.optim.RMSprop,
        alpha=get("alpha", 0.99),
        eps=get("epsilon", 1e-8),
        centered=get("centered", False),
        momentum=get("momentum", 0.0),
        weight_decay=get("weight_decay", 0.0),
        maximize=get("maximize", False),
    )
    return "torch.optim.RMSprop", Torch(optimizer, parameter)


def cases():
    collected = Cases("rmsprop", 0.01, reference)
    base = {"name": "rmsprop"}
    inside_root = {"epsilon_inside_root": True}
    inside = {"epsilon": 1e-3, **inside_root}
    collected.everywhere("default", base)
    collected.everywhere("inside_root_default", {**base, **inside_root}, FEW_SHAPES)
    collected.options(
        base,
        {
            "alpha": {"alpha": 0.9},
            "alpha_half": {"alpha": 0.5},
            "epsilon": {"epsilon": 1e-2},
            "centered": {"centered": True},
            "momentum": {"momentum": 0.9},
            "centered_momentum": {"centered": True, "momentum": 0.9},
            "weight_decay": {"weight_decay": 0.1},
            "maximize": {"maximize": True},
            "maximize_weight_decay": {"weight_decay": 0.1, "maximize": True},
            "everything": {
                "alpha": 0.9,
                "epsilon": 1e-2,
                "centered": True,
                "momentum": 0.9,
                "weight_decay": 0.1,
                "maximize": True,
            },
            "inside_root": inside,
            "inside_root_centered": {**inside, "centered": True},
            "inside_root_weight_decay": {**inside, "weight_decay": 0.1},
            "inside_root_centered_weight_decay_maximize": {
                **inside,
                "alpha": 0.9,
                "centered": True,
                "weight_decay": 0.1,
                "maximize": True,
            },
            "inside_root_momentum": {**inside, "momentum": 0.9},
            "inside_root_everything": {
                **inside,
                "alpha": 0.9,
                "centered": True,
                "momentum": 0.9,
                "weight_decay": 0.1,
                "maximize": True,
            },
        },
    )
    return collected
