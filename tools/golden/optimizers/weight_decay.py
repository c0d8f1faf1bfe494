"""The kinds of weight decay that no library has, on AdamW and SGD."""

import functools

import numpy as np
import torch
from cases import Cases
from formulas import Formula
from libraries import Torch


class Decaying:
    """A torch optimizer after p *= 1 - decay(learning_rate)."""

    def __init__(self, inner, decay):
        self.inner = inner
        self.decay = decay

    def step(self, t, learning_rate, gradient):
        with torch.no_grad():
            self.inner.tensor.mul_(1.0 - self.decay(learning_rate))
        self.inner.step(t, learning_rate, gradient)

    @property
    def parameter(self):
        return self.inner.parameter

    @property
    def state(self):
        return self.inner.state


class Cautious(Formula):
    """Cautious weight decay (arXiv:2510.12402): only where it agrees with the step.

    p -= lr u + lr wd [u p >= 0] p, with u the direction of Adam or of SGD
    """

    def setup(self, get):
        self.adam = self.config["name"] == "adamw"
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.epsilon = get("epsilon", 1e-8)
        self.momentum = get("momentum", 0.0)
        self.nesterov = get("nesterov", False)
        if self.adam:
            self.state["exp_avg"] = self.zeros()
            self.state["exp_avg_sq"] = self.zeros()
        elif self.momentum != 0.0:
            self.state["momentum_buffer"] = self.zeros()

    def direction(self, t, gradient):
        state = self.state
        if self.adam:
            state["exp_avg"] = (
                self.beta_1 * state["exp_avg"] + (1.0 - self.beta_1) * gradient
            )
            state["exp_avg_sq"] = (
                self.beta_2 * state["exp_avg_sq"]
                + (1.0 - self.beta_2) * gradient * gradient
            )
            root = np.sqrt(state["exp_avg_sq"] / (1.0 - self.beta_2**t))
            return state["exp_avg"] / (1.0 - self.beta_1**t) / (root + self.epsilon)
        if self.momentum == 0.0:
            return gradient
        buffer = self.momentum * state["momentum_buffer"] + gradient
        state["momentum_buffer"] = buffer
        return gradient + self.momentum * buffer if self.nesterov else buffer

    def step(self, t, learning_rate, gradient):
        if self.config.get("maximize", False):
            gradient = -gradient
        u = self.direction(t, gradient)
        decay = np.where(u * self.parameter >= 0.0, self.weight_decay, 0.0)
        step = u + decay * self.parameter
        self.parameter = self.parameter - learning_rate * step


def reference(config, parameter, rates):
    get = config.get
    weight_decay = config["weight_decay"]
    kind = config["weight_decay_kind"]
    if kind == "cautious":
        return "formula: arXiv:2510.12402", Cautious(config, parameter)
    if config["name"] == "adamw":
        source = "torch.optim.AdamW"
        optimizer = functools.partial(
            torch.optim.AdamW,
            betas=(get("beta_1", 0.9), get("beta_2", 0.999)),
            eps=get("epsilon", 1e-8),
            weight_decay=0.0,
            maximize=get("maximize", False),
        )
    else:
        source = "torch.optim.SGD"
        optimizer = functools.partial(
            torch.optim.SGD,
            momentum=get("momentum", 0.0),
            nesterov=get("nesterov", False),
            maximize=get("maximize", False),
        )
    inner = Torch(optimizer, parameter)
    if kind == "independent":
        source += " after p *= 1 - weight_decay"
        return source, Decaying(inner, lambda rate: weight_decay)
    assert kind == "corrected"
    source += " after p *= 1 - learning_rate^2 / peak_learning_rate * weight_decay"
    peak = config["peak_learning_rate"]
    return source, Decaying(inner, lambda rate: rate * weight_decay * rate / peak)


def cases():
    collected = Cases("weight_decay", 0.01, reference)
    up = {"maximize": True}
    optimizers = {
        "adamw": ({"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-2}, 0.01),
        "sgd": ({"momentum": 0.9, "nesterov": True}, 0.05),
    }
    kinds = {
        # Not times the learning rate, so much smaller.
        "independent": {"weight_decay": 1e-3},
        "corrected": {"weight_decay": 0.1},
        "cautious": {"weight_decay": 0.1},
    }
    for name, (changes, rate) in optimizers.items():
        collected.learning_rate = rate
        for kind, decay in kinds.items():
            base = {"name": name, "weight_decay_kind": kind, **decay}
            table = {
                "large": {"weight_decay": 100.0 * decay["weight_decay"]},
                "maximize": up,
                "options": changes,
                "everything": {**changes, **up},
            }
            if kind == "corrected":
                base["peak_learning_rate"] = rate
                table["peak"] = {"peak_learning_rate": 3.0 * rate}
            collected.everywhere(f"{name}_{kind}", base, ([7], [4, 3], [3, 4, 5]))
            collected.options(
                base, {f"{name}_{kind}_{case}": x for case, x in table.items()}
            )
    return collected
