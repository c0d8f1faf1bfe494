"""AdaNorm."""

import numpy as np
from cases import Cases, moments
from formulas import Formula


class AdaNorm(Formula):
    """arXiv:2210.06364: Adam, with small gradients made as long as they are on average.

    e = r e + (1 - r) |g|;  h = g e / |g| if e > |g| else g
    m = beta_1 m + (1 - beta_1) h;  v = beta_2 v + (1 - beta_2) g^2
    p -= lr m_hat / (sqrt(v_hat) + eps)
    """

    DECOUPLED = True

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.99)
        self.r = get("r", 0.95)
        self.epsilon = get("epsilon", 1e-8)
        self.state["exp_avg"] = self.zeros()
        self.state["exp_avg_sq"] = self.zeros()
        self.state["exp_grad_norm"] = np.zeros(1)

    def update(self, t, learning_rate, gradient):
        state = self.state
        norm = np.linalg.norm(gradient)
        state["exp_grad_norm"] = self.r * state["exp_grad_norm"] + (1.0 - self.r) * norm
        average = state["exp_grad_norm"][0]
        longer = norm > 0.0 and average > norm
        h = gradient * average / norm if longer else gradient
        state["exp_avg"] = self.beta_1 * state["exp_avg"] + (1.0 - self.beta_1) * h
        state["exp_avg_sq"] = (
            self.beta_2 * state["exp_avg_sq"]
            + (1.0 - self.beta_2) * gradient * gradient
        )
        root = np.sqrt(state["exp_avg_sq"] / (1.0 - self.beta_2**t)) + self.epsilon
        return learning_rate * state["exp_avg"] / (1.0 - self.beta_1**t) / root


def reference(config, parameter, rates):
    # pytorch_optimizer adds 1e-15 inside the root, and adds epsilon to the root of v
    # before that is corrected.
    return "formula: arXiv:2210.06364", AdaNorm(config, parameter)


def cases():
    collected = Cases("adanorm", 0.01, reference)
    base = {"name": "adanorm"}
    collected.everywhere("default", base)
    table = moments(
        options={"r": {"r": 0.5}, "r_large": {"r": 0.99}},
        everything={"r": 0.5},
    )
    collected.options(base, table)
    return collected
