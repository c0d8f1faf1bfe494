"""LaProp."""

import numpy as np
from cases import Cases, moments
from formulas import Formula


class LaProp(Formula):
    """The authors' code of arXiv:2002.04839, with the decay before the step.

    m = beta_1 m + (1 - beta_1) lr g / (sqrt(v_hat) + eps)
    c = beta_1 c + (1 - beta_1) lr;  p -= m lr / c

    Their code decays after the step. At a constant rate lr / c is the usual
    1 / (1 - beta_1^t).
    """

    DECOUPLED = True

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.epsilon = get("epsilon", 1e-15)
        self.state["exp_avg"] = self.zeros()
        self.state["exp_avg_sq"] = self.zeros()
        self.state["exp_avg_lr_1"] = np.zeros(1)

    def update(self, t, learning_rate, gradient):
        state, keep = self.state, self.beta_1
        state["exp_avg_sq"] = (
            self.beta_2 * state["exp_avg_sq"]
            + (1.0 - self.beta_2) * gradient * gradient
        )
        state["exp_avg_lr_1"] = (
            keep * state["exp_avg_lr_1"] + (1.0 - keep) * learning_rate
        )
        root = np.sqrt(state["exp_avg_sq"] / (1.0 - self.beta_2**t)) + self.epsilon
        state["exp_avg"] = (
            keep * state["exp_avg"] + (1.0 - keep) * learning_rate * gradient / root
        )
        return state["exp_avg"] / (state["exp_avg_lr_1"][0] / learning_rate)


def reference(config, parameter, rates):
    return "formula: LaProp, decay before the step", LaProp(config, parameter)


def cases():
    collected = Cases("laprop", 4e-3, reference)
    base = {"name": "laprop"}
    collected.everywhere("default", base)
    collected.options(base, moments())
    return collected
