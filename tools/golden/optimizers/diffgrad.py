"""diffGrad."""

import numpy as np
from cases import Cases, moments
from formulas import Formula


class DiffGrad(Formula):
    """arXiv:1909.11015.

    u = m_hat / (sqrt(v_hat) + eps) / (1 + exp(-|g - g_previous|))

    The previous gradient is 0 at the first step. The authors' code adds epsilon
    to sqrt(v) before the correction.
    """

    DECOUPLED = True

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.epsilon = get("epsilon", 1e-8)
        self.state["exp_avg"] = self.zeros()
        self.state["exp_avg_sq"] = self.zeros()
        self.state["previous_grad"] = self.zeros()

    def update(self, t, learning_rate, gradient):
        state = self.state
        state["exp_avg"] = (
            self.beta_1 * state["exp_avg"] + (1.0 - self.beta_1) * gradient
        )
        state["exp_avg_sq"] = (
            self.beta_2 * state["exp_avg_sq"]
            + (1.0 - self.beta_2) * gradient * gradient
        )
        friction = 1.0 / (1.0 + np.exp(-np.abs(gradient - state["previous_grad"])))
        state["previous_grad"] = gradient
        root = np.sqrt(state["exp_avg_sq"] / (1.0 - self.beta_2**t)) + self.epsilon
        u = state["exp_avg"] / (1.0 - self.beta_1**t) / root
        return learning_rate * friction * u


def reference(config, parameter, rates):
    return "formula: arXiv:1909.11015", DiffGrad(config, parameter)


def cases():
    collected = Cases("diffgrad", 0.01, reference)
    base = {"name": "diffgrad"}
    collected.everywhere("default", base)
    collected.options(base, moments())
    return collected
