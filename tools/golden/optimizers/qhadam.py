"""QHAdam, the quasi-hyperbolic Adam."""

import numpy as np
from cases import Cases
from formulas import Formula


class QHAdam(Formula):
    """arXiv:1810.06801.

    u = ((1 - nu_1) g + nu_1 m_hat) / (sqrt((1 - nu_2) g^2 + nu_2 v_hat) + eps)

    The authors' code keeps m_hat and v_hat themselves as its state.
    """

    DECOUPLED = True

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.995)
        self.beta_2 = get("beta_2", 0.999)
        self.nu_1 = get("nu_1", 0.7)
        self.nu_2 = get("nu_2", 1.0)
        self.epsilon = get("epsilon", 1e-8)
        self.state["exp_avg"] = self.zeros()
        self.state["exp_avg_sq"] = self.zeros()

    def update(self, t, learning_rate, gradient):
        state = self.state
        square = gradient * gradient
        state["exp_avg"] = (
            self.beta_1 * state["exp_avg"] + (1.0 - self.beta_1) * gradient
        )
        state["exp_avg_sq"] = (
            self.beta_2 * state["exp_avg_sq"] + (1.0 - self.beta_2) * square
        )
        first = state["exp_avg"] / (1.0 - self.beta_1**t)
        second = state["exp_avg_sq"] / (1.0 - self.beta_2**t)
        first = (1.0 - self.nu_1) * gradient + self.nu_1 * first
        second = (1.0 - self.nu_2) * square + self.nu_2 * second
        return learning_rate * first / (np.sqrt(second) + self.epsilon)


def reference(config, parameter, rates):
    return "formula: arXiv:1810.06801", QHAdam(config, parameter)


def cases():
    collected = Cases("qhadam", 0.01, reference)
    base = {"name": "qhadam"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            "beta_1_zero": {"beta_1": 0.0},
            "beta_2_zero": {"beta_2": 0.0},
            "nu_1": {"nu_1": 0.3},
            "nu_1_one": {"nu_1": 1.0},
            "nu_2": {"nu_2": 0.5},
            "nu_1_zero_nu_2": {"nu_1": 0.0, "nu_2": 0.3},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "beta_1": 0.9,
                "beta_2": 0.99,
                "nu_1": 0.5,
                "nu_2": 0.8,
                "epsilon": 1e-2,
                **decay,
                **up,
            },
        },
    )
    return collected
