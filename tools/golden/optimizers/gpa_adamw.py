"""GPA-AdamW, AdamW with generalized primal averaging."""

import numpy as np
from cases import Cases, moments
from formulas import Formula


class GpaAdamW(Formula):
    """arXiv:2512.17131, with y and z held; the parameter is y.

    u = m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + eps),  c = 1 - mu_x
    z *= 1 - lr wd
    y += c (z - y) + lr (mu_y (1 - c) - 1) u
    z -= lr u

    The average x is in y = mu_y x + (1 - mu_y) z.
    """

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.epsilon = get("epsilon", 1e-8)
        self.mu_x = get("mu_x", 0.9967)
        self.mu_y = get("mu_y", 0.7)
        self.state["z"] = self.parameter.copy()
        self.state["exp_avg"] = self.zeros()
        self.state["exp_avg_sq"] = self.zeros()

    def direction(self, t, gradient):
        m, v = self.state["exp_avg"], self.state["exp_avg_sq"]
        m = self.beta_1 * m + (1.0 - self.beta_1) * gradient
        v = self.beta_2 * v + (1.0 - self.beta_2) * gradient * gradient
        self.state["exp_avg"], self.state["exp_avg_sq"] = m, v
        root = np.sqrt(v / (1.0 - self.beta_2**t))
        return m / (1.0 - self.beta_1**t) / (root + self.epsilon)

    def step(self, t, learning_rate, gradient):
        if self.config.get("maximize", False):
            gradient = -gradient
        u = self.direction(t, gradient)
        y = self.parameter
        z = self.state["z"] * (1.0 - learning_rate * self.weight_decay)
        c = 1.0 - self.mu_x
        ahead = self.mu_y * (1.0 - c) - 1.0
        self.parameter = y + c * (z - y) + learning_rate * ahead * u
        self.state["z"] = z - learning_rate * u

    def evaluated(self):
        """The average x."""
        y = self.parameter
        return y + (1.0 - 1.0 / self.mu_y) * (self.state["z"] - y)


def reference(config, parameter, rates):
    return "formula: arXiv:2512.17131, decay as in the authors' code", GpaAdamW(
        config, parameter
    )


def cases():
    collected = Cases("gpa_adamw", 0.01, reference)
    base = {"name": "gpa_adamw"}
    collected.everywhere("default", base)
    table = moments(
        options={
            "mu_x": {"mu_x": 0.9},
            # AdamW: x, y and z are the same.
            "mu_x_zero": {"mu_x": 0.0},
            "mu_y": {"mu_y": 0.3},
            # The model holds the average.
            "mu_y_one": {"mu_y": 1.0},
            # Seen in y too.
            "mu_x_weight_decay": {"mu_x": 0.9, "weight_decay": 2.0},
            "mu_x_zero_weight_decay": {"mu_x": 0.0, "weight_decay": 0.1},
        },
        everything={"mu_x": 0.95, "mu_y": 0.5},
    )
    collected.options(base, table)
    return collected
