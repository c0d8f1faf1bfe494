"""MADGRAD."""

import math

import numpy as np
from cases import Cases
from formulas import Formula


class Madgrad(Formula):
    """The authors' code of arXiv:2101.11075.

    lambda = (lr + eps) sqrt(t);  nu += lambda g^2;  s += lambda g
    z = x0 - s / (cbrt(nu) + eps);  p = momentum p + (1 - momentum) z

    optax.contrib.madgrad takes the root of t in float32.
    """

    def setup(self, get):
        self.momentum = get("momentum", 0.9)
        self.epsilon = get("epsilon", 1e-6)
        self.state["grad_sum_sq"] = self.zeros()
        self.state["s"] = self.zeros()
        self.state["x0"] = self.parameter.copy()

    def update(self, t, learning_rate, gradient):
        state = self.state
        factor = (learning_rate + self.epsilon) * math.sqrt(t)
        state["grad_sum_sq"] = state["grad_sum_sq"] + factor * gradient * gradient
        state["s"] = state["s"] + factor * gradient
        z = state["x0"] - state["s"] / (np.cbrt(state["grad_sum_sq"]) + self.epsilon)
        return (1.0 - self.momentum) * (self.parameter - z)


def reference(config, parameter, rates):
    return "formula: the authors' MADGRAD", Madgrad(config, parameter)


def cases():
    collected = Cases("madgrad", 0.01, reference)
    base = {"name": "madgrad"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "momentum": {"momentum": 0.5},
            "momentum_zero": {"momentum": 0.0},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {"momentum": 0.8, "epsilon": 1e-3, **decay, **up},
        },
    )
    return collected
