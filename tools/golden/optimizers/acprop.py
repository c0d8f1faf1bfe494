"""ACProp."""

import math

import numpy as np
from cases import Cases
from formulas import Formula


class ACProp(Formula):
    """arXiv:2110.05454 as in the authors' code, without rectification.

    m = beta_1 m + (1 - beta_1) g
    t = 1: p -= lr g
    t > 1: s += eps;  p -= lr g / (sqrt(s / (1 - beta_2^(t - 1))) + eps)
    s = beta_2 s + (1 - beta_2) (g - m)^2, after the step
    """

    DECOUPLED = True

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.epsilon = get("epsilon", 1e-16)
        self.state["exp_avg"] = self.zeros()
        self.state["exp_avg_var"] = self.zeros()

    def update(self, t, learning_rate, gradient):
        state = self.state
        m = self.beta_1 * state["exp_avg"] + (1.0 - self.beta_1) * gradient
        s = state["exp_avg_var"]
        if t == 1:
            u = gradient
        else:
            s = s + self.epsilon
            correction = math.sqrt(1.0 - self.beta_2 ** (t - 1))
            u = gradient / (np.sqrt(s) / correction + self.epsilon)
        residual = gradient - m
        state["exp_avg"] = m
        state["exp_avg_var"] = (
            self.beta_2 * s + (1.0 - self.beta_2) * residual * residual
        )
        return learning_rate * u


def reference(config, parameter, rates):
    return "formula: arXiv:2110.05454 with the authors' epsilon", ACProp(
        config, parameter
    )


def cases():
    collected = Cases("acprop", 1e-3, reference)
    base = {"name": "acprop"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "beta_1": {"beta_1": 0.5},
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            # With an epsilon, as a single g - m can be small. Without beta_1 it is 0.
            "beta_2_zero": {"beta_2": 0.0, "epsilon": 1e-2},
            "epsilon": {"epsilon": 1e-2},
            "epsilon_small": {"epsilon": 1e-4},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "beta_1": 0.8,
                "beta_2": 0.99,
                "epsilon": 1e-2,
                **decay,
                **up,
            },
        },
    )
    return collected
