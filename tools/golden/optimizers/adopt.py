"""ADOPT."""

import numpy as np
import optax
import optax.contrib
from cases import Cases
from formulas import Formula
from libraries import Optax, find, schedule


class Adopt(Formula):
    """The authors' ADOPT (arXiv:2411.02853), which starts at its second step.

    t = 1: v = g^2, with neither step nor decay
    n = clip(g / max(sqrt(v), eps), (t - 1)^clip_exponent)
    m = beta_1 m + (1 - beta_1) n;  p -= lr m;  v = beta_2 v + (1 - beta_2) g^2
    """

    DECOUPLED = True

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.9999)
        self.epsilon = get("epsilon", 1e-6)
        self.clip_exponent = get("clip_exponent", 0.25)
        self.state["exp_avg"] = self.zeros()
        self.state["exp_avg_sq"] = self.zeros()

    def step(self, t, learning_rate, gradient):
        if t > 1:
            super().step(t, learning_rate, gradient)
        else:
            self.state["exp_avg_sq"] = gradient * gradient

    def update(self, t, learning_rate, gradient):
        state = self.state
        limit = (t - 1.0) ** self.clip_exponent
        n = gradient / np.maximum(np.sqrt(state["exp_avg_sq"]), self.epsilon)
        n = np.clip(n, -limit, limit)
        state["exp_avg"] = self.beta_1 * state["exp_avg"] + (1.0 - self.beta_1) * n
        state["exp_avg_sq"] = (
            self.beta_2 * state["exp_avg_sq"]
            + (1.0 - self.beta_2) * gradient * gradient
        )
        return learning_rate * state["exp_avg"]


def reference(config, parameter, rates):
    get = config.get
    if get("weight_decay", 0.0) != 0.0:
        # optax decays at the first step too.
        return "formula: arXiv:2411.02853", Adopt(config, parameter)
    exponent = get("clip_exponent", 0.25)
    transformation = optax.chain(
        optax.contrib.scale_by_adopt(
            get("beta_1", 0.9),
            get("beta_2", 0.9999),
            get("epsilon", 1e-6),
            clip_value_fn=lambda count: count**exponent,
        ),
        optax.scale_by_learning_rate(schedule(rates)),
    )

    def read(state):
        part = find(state, optax.ScaleByAdamState)
        return {"exp_avg": part.mu, "exp_avg_sq": part.nu}

    return "the chain of optax.contrib.adopt", Optax(
        transformation, parameter, read, get("maximize", False)
    )


def cases():
    collected = Cases("adopt", 0.01, reference)
    base = {"name": "adopt"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            "beta_1_zero": {"beta_1": 0.0},
            "beta_2_zero": {"beta_2": 0.0},
            "epsilon": {"epsilon": 0.5},
            "clip_exponent": {"clip_exponent": 0.5},
            "clip_exponent_zero": {"clip_exponent": 0.0},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "beta_1": 0.8,
                "beta_2": 0.99,
                "epsilon": 0.5,
                "clip_exponent": 0.1,
                **decay,
                **up,
            },
        },
    )
    return collected
