"""AdaPNM, Adam with the positive-negative momentum."""

import math

import numpy as np
from cases import Cases, moments
from formulas import Formula


class AdaPNM(Formula):
    """arXiv:2103.17182, with epsilon beside the corrected root.

    The momenta take turns: `current` is pos at odd t and neg at even t, `other` the
    other one.

    current = beta_1^2 current + (1 - beta_1^2) g
    d = ((1 + beta_3) current - beta_3 other) / sqrt((1 + beta_3)^2 + beta_3^2)
    u = d / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + eps)

    With `amsgrad` v is the largest so far, before the correction.
    """

    DECOUPLED = True

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.beta_3 = get("beta_3", 1.0)
        self.epsilon = get("epsilon", 1e-8)
        self.amsgrad = get("amsgrad", True)
        self.state["pos_momentum"] = self.zeros()
        self.state["neg_momentum"] = self.zeros()
        self.state["exp_avg_sq"] = self.zeros()
        if self.amsgrad:
            self.state["max_exp_avg_sq"] = self.zeros()

    def update(self, t, learning_rate, gradient):
        state = self.state
        turns = ("pos_momentum", "neg_momentum")
        name, other = turns if t % 2 == 1 else turns[::-1]
        keep = self.beta_1**2
        state[name] = keep * state[name] + (1.0 - keep) * gradient
        v = (
            self.beta_2 * state["exp_avg_sq"]
            + (1.0 - self.beta_2) * gradient * gradient
        )
        state["exp_avg_sq"] = v
        if self.amsgrad:
            v = np.maximum(state["max_exp_avg_sq"], v)
            state["max_exp_avg_sq"] = v
        ahead = 1.0 + self.beta_3
        noise = math.sqrt(ahead**2 + self.beta_3**2)
        direction = (ahead * state[name] - self.beta_3 * state[other]) / noise
        root = np.sqrt(v) / math.sqrt(1.0 - self.beta_2**t) + self.epsilon
        return learning_rate / (1.0 - self.beta_1**t) * direction / root


def reference(config, parameter, rates):
    # pytorch_optimizer adds epsilon before the correction, and 1e-15 inside the root.
    return "formula: arXiv:2103.17182", AdaPNM(config, parameter)


def cases():
    collected = Cases("adapnm", 0.01, reference)
    base = {"name": "adapnm"}
    # With the default beta_2 the maximum is seldom above the second moment itself.
    plain = {"beta_2": 0.6, "amsgrad": False}
    collected.everywhere("default", base)
    table = moments(
        beta_2=0.6,
        options={
            "beta_3": {"beta_3": 0.5},
            "beta_3_zero": {"beta_3": 0.0},
            "plain": {"amsgrad": False},
            "plain_beta_2": plain,
            "plain_weight_decay": {**plain, "weight_decay": 0.1},
        },
        everything={"beta_3": 0.6, "amsgrad": False},
    )
    collected.options(base, table)
    return collected
