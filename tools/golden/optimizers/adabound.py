"""AdaBound and AMSBound."""

import math

import numpy as np
from cases import Cases, moments
from formulas import Formula


class AdaBound(Formula):
    """arXiv:1902.09843, with the bounds as in the authors' code.

    eta = lr sqrt(1 - beta_2^t) / (1 - beta_1^t) / (sqrt(v) + eps)
    f = final_lr lr / base_lr
    p -= clip(eta, f (1 - 1 / (gamma t + 1)), f (1 + 1 / (gamma t))) m

    AMSBound has the largest v so far. Without `base_learning_rate`, base_lr is the
    learning rate of the first step.
    """

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.final_lr = get("final_lr", 0.1)
        self.gamma = get("gamma", 1e-3)
        self.epsilon = get("epsilon", 1e-8)
        self.amsbound = get("amsbound", False)
        self.base_learning_rate = get("base_learning_rate", None)
        self.state["exp_avg"] = self.zeros()
        self.state["exp_avg_sq"] = self.zeros()
        if self.amsbound:
            self.state["max_exp_avg_sq"] = self.zeros()

    def update(self, t, learning_rate, gradient):
        state = self.state
        if t == 1:
            given = self.base_learning_rate
            state["base_lr"] = np.full(1, learning_rate if given is None else given)
        state["exp_avg"] = (
            self.beta_1 * state["exp_avg"] + (1.0 - self.beta_1) * gradient
        )
        v = (
            self.beta_2 * state["exp_avg_sq"]
            + (1.0 - self.beta_2) * gradient * gradient
        )
        state["exp_avg_sq"] = v
        if self.amsbound:
            v = np.maximum(state["max_exp_avg_sq"], v)
            state["max_exp_avg_sq"] = v
        corrected = math.sqrt(1.0 - self.beta_2**t) / (1.0 - self.beta_1**t)
        eta = learning_rate * corrected / (np.sqrt(v) + self.epsilon)
        final = self.final_lr * learning_rate / float(state["base_lr"][0])
        lower = final * (1.0 - 1.0 / (self.gamma * t + 1.0))
        upper = final * (1.0 + 1.0 / (self.gamma * t))
        return np.clip(eta, lower, upper) * state["exp_avg"]


def reference(config, parameter, rates):
    # pytorch_optimizer adds 1e-15 inside the root.
    return "formula: arXiv:1902.09843", AdaBound(config, parameter)


def cases():
    collected = Cases("adabound", 0.01, reference)
    base = {"name": "adabound"}
    # With these some of the elements are at either bound.
    both = {"final_lr": 0.02, "gamma": 0.1}
    # With the default beta_2 the maximum is seldom above the second moment itself.
    ams = {"beta_2": 0.6, "amsbound": True}
    collected.everywhere("default", base)
    table = moments(
        beta_2=0.6,
        options={
            "final_lr": {"final_lr": 1.0},
            "final_lr_small": {"final_lr": 1e-4},
            "gamma": {"gamma": 0.1},
            "bounds": both,
            "bounds_above": {"final_lr": 0.01, "gamma": 0.1},
            "bounds_weight_decay": {**both, "weight_decay": 0.1},
            "amsbound": {"amsbound": True},
            "amsbound_beta_2": ams,
            "amsbound_bounds": {**ams, **both},
            "base_learning_rate": {"base_learning_rate": 2e-3},
            "base_learning_rate_bounds": {"base_learning_rate": 0.03, "gamma": 0.1},
        },
        everything={**both, "amsbound": True, "base_learning_rate": 0.02},
    )
    collected.options(base, table)
    return collected
