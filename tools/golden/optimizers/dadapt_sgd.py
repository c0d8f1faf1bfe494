"""SGD with D-Adaptation."""

import dadaptation
import numpy as np
from cases import Cases
from formulas import Formula

from .prodigy import WholeModel, limit


class DAdaptSgd(Formula):
    """dadaptation.DAdaptSGD with the decay also in the norm of the first gradient.

    g = g + wd p;  lambda = d lr / |g_1|
    numerator += lambda <g, s>;  s += lambda g
    d = max(d, min(2 numerator / |s|, d growth_rate))
    p = momentum p + (1 - momentum) (p_0 - s)
    """

    def setup(self, get):
        self.momentum = get("momentum", 0.0)
        self.growth_rate = limit(get("growth_rate", None))
        self.state["p0"] = self.parameter.copy()
        self.state["s"] = self.zeros()
        self.state["d"] = np.array([get("d0", 1e-6)])
        self.state["d_numerator"] = np.zeros(1)

    def step(self, t, learning_rate, gradient):
        state = self.state
        if self.config.get("maximize", False):
            gradient = -gradient
        gradient = gradient + self.weight_decay * self.parameter
        if t == 1:
            state["g0_norm"] = np.array([np.linalg.norm(gradient)])
        d = state["d"]
        rate = d * learning_rate / state["g0_norm"]
        numerator = state["d_numerator"] + rate * np.sum(gradient * state["s"])
        s = state["s"] + rate * gradient
        estimate = 2.0 * numerator / np.linalg.norm(s)
        state["d"] = np.maximum(d, np.minimum(estimate, d * self.growth_rate))
        state["d_numerator"], state["s"] = numerator, s
        drawn = self.momentum * self.parameter
        self.parameter = drawn + (1.0 - self.momentum) * (state["p0"] - s)


def library(config):
    get = config.get
    # Its decay is not in the norm.
    assert get("weight_decay", 0.0) == 0.0
    return "dadaptation.DAdaptSGD", lambda tensors: dadaptation.DAdaptSGD(
        tensors,
        momentum=get("momentum", 0.0),
        d0=get("d0", 1e-6),
        growth_rate=limit(get("growth_rate")),
    )


def numbers(optimizer):
    group = optimizer.param_groups[0]
    return {
        "d": group["d"],
        "d_numerator": group["numerator_weighted"],
        "g0_norm": group["g0_norm"],
    }


def reference(config, parameter, rates):
    if config.get("weight_decay", 0.0) != 0.0:
        return (
            "formula: dadaptation.DAdaptSGD with decay from the first norm on",
            DAdaptSgd(config, parameter),
        )
    source, make = library(config)
    names = {"x0": "p0", "s": "s"}
    maximize = config.get("maximize", False)
    return source, WholeModel(make, parameter, names, numbers, maximize)


def cases():
    collected = Cases("dadapt_sgd", 1.0, reference, ("dadaptation",))
    base = {"name": "dadapt_sgd"}
    start = {"d0": 1e-1}
    momentum = {"momentum": 0.9}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        {**base, **start},
        {
            "d0": {},
            "momentum": momentum,
            "growth_rate": {"growth_rate": 1.02},
            "weight_decay": decay,
            "momentum_weight_decay": {**momentum, **decay},
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {"momentum": 0.5, "growth_rate": 1.05, **decay, **up},
        },
    )
    return collected
