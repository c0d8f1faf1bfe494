"""Schedule-Free SGD."""

import functools

import numpy as np
import schedulefree
from cases import Cases
from formulas import Formula
from libraries import Named


class ScheduleFree(Named):
    """An optimizer of schedulefree in its train mode: the parameter is y."""

    def __init__(self, optimizer, parameter, names, maximize):
        super().__init__(optimizer, parameter, names, maximize)
        self.optimizer.train()

    @property
    def state(self):
        (group,) = self.optimizer.param_groups
        scalars = {name: np.array([group[name]]) for name in ("weight_sum", "lr_max")}
        return {**super().state, **scalars}

    def evaluated(self):
        """The average x."""
        self.optimizer.eval()
        evaluated = self.parameter.copy()
        self.optimizer.train()
        return evaluated


class Refined(Formula):
    """Schedule-Free with the share of arXiv:2507.09846; the parameter is y.

    w = t^r max(lr)^p,  c = min(1, (1 - beta) C w / sum(w)),  d = g + wd y
    y += c (z - y) + lr (beta (1 - c) - 1) d
    z -= lr d

    `decoupling_c` is C.
    """

    BETA = "momentum"

    def setup(self, get):
        self.beta = get(self.BETA, 0.9)
        self.decoupling_c = self.config["decoupling_c"]
        self.warmup_steps = get("warmup_steps", 0)
        self.r = get("r", 0.0)
        self.power = get("weight_lr_power", 2.0)
        self.state["z"] = self.parameter.copy()
        self.state["weight_sum"] = np.zeros(1)
        self.state["lr_max"] = np.zeros(1)

    def rate(self, t, learning_rate):
        if t < self.warmup_steps:
            return learning_rate * t / self.warmup_steps
        return learning_rate

    def direction(self, t, gradient):
        return gradient

    def share(self, t, rate):
        state = self.state
        state["lr_max"] = np.maximum(state["lr_max"], rate)
        weight = t**self.r * state["lr_max"] ** self.power
        state["weight_sum"] = state["weight_sum"] + weight
        total = float(state["weight_sum"][0])
        share = float(weight[0]) / total if total > 0.0 else 0.0
        return min(1.0, (1.0 - self.beta) * self.decoupling_c * share)

    def step(self, t, learning_rate, gradient):
        if self.config.get("maximize", False):
            gradient = -gradient
        rate = self.rate(t, learning_rate)
        c = self.share(t, rate)
        y, z = self.parameter, self.state["z"]
        d = self.direction(t, gradient) + self.weight_decay * y
        self.parameter = y + c * (z - y) + rate * (self.beta * (1.0 - c) - 1.0) * d
        self.state["z"] = z - rate * d

    def evaluated(self):
        """The average x."""
        y = self.parameter
        return y + (1.0 - 1.0 / self.beta) * (self.state["z"] - y)


def reference(config, parameter, rates):
    get = config.get
    if get("decoupling_c") is not None:
        return (
            "formula: schedulefree.SGDScheduleFree with arXiv:2507.09846",
            Refined(config, parameter),
        )
    optimizer = functools.partial(
        schedulefree.SGDScheduleFree,
        momentum=get("momentum", 0.9),
        weight_decay=get("weight_decay", 0.0),
        warmup_steps=get("warmup_steps", 0),
        r=get("r", 0.0),
        weight_lr_power=get("weight_lr_power", 2.0),
    )
    return "schedulefree.SGDScheduleFree", ScheduleFree(
        optimizer, parameter, {"z": "z"}, get("maximize", False)
    )


def options():
    """The options that both of the Schedule-Free optimizers have."""
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    refined = {"decoupling_c": 5.0}
    everything = {
        "warmup_steps": 20,
        "r": 0.5,
        "weight_lr_power": 1.5,
        **decay,
        **up,
    }
    return {
        "warmup_steps": {"warmup_steps": 10},
        "warmup_steps_long": {"warmup_steps": 100},
        "r": {"r": 1.0},
        "weight_lr_power": {"weight_lr_power": 1.0},
        "weight_lr_power_zero": {"weight_lr_power": 0.0, "warmup_steps": 10},
        "warmup_steps_r": {"warmup_steps": 10, "r": 0.5},
        "decoupling_c": refined,
        # The share is cut to 1 at first.
        "decoupling_c_large": {"decoupling_c": 200.0},
        "decoupling_c_everything": {**refined, **everything},
        "weight_decay": decay,
        "maximize": up,
        "maximize_weight_decay": {**decay, **up},
        "everything": everything,
    }


def cases():
    collected = Cases("schedule_free_sgd", 0.1, reference, ("schedulefree",))
    base = {"name": "schedule_free_sgd"}
    table = options()
    for case in ("decoupling_c_everything", "everything"):
        table[case]["momentum"] = 0.8
    collected.everywhere("default", base)
    collected.options(base, {"momentum": {"momentum": 0.5}, **table})
    return collected
