"""MARS."""

import functools

import numpy as np
from cases import Cases, moments
from formulas import Formula
from libraries import Named
from pytorch_optimizer import MARS as Library


class Mars(Formula):
    """arXiv:2411.10438, as in the authors' code with the last step's gradient.

    c = g + gamma beta_1 / (1 - beta_1) (g - g_previous), 0 before t = 1
    c /= |c| if |c| > 1;  m = beta_1 m + (1 - beta_1) c
    v = beta_2 v + (1 - beta_2) c^2;  p -= lr m_hat / (sqrt(v_hat) + eps)
    lion: p -= lr sign(m), without v

    A vector has g for c and betas of its own unless `optimize_1d` is set.
    """

    DECOUPLED = True

    def setup(self, get):
        self.mixed = self.parameter.ndim > 1 or get("optimize_1d", False)
        if self.mixed:
            self.beta_1 = get("beta_1", 0.95)
            self.beta_2 = get("beta_2", 0.99)
        else:
            self.beta_1 = get("beta_1_1d", 0.9)
            self.beta_2 = get("beta_2_1d", 0.95)
        self.gamma = get("gamma", 0.025)
        self.epsilon = get("epsilon", 1e-8)
        self.lion = get("variant", "adamw") == "lion"
        self.state["exp_avg"] = self.zeros()
        if not self.lion:
            self.state["exp_avg_sq"] = self.zeros()
        self.state["last_grad"] = self.zeros()

    def corrected(self, gradient):
        weight = self.gamma * self.beta_1 / (1.0 - self.beta_1)
        c = gradient + weight * (gradient - self.state["last_grad"])
        return c / max(np.linalg.norm(c), 1.0)

    def update(self, t, learning_rate, gradient):
        state = self.state
        c = self.corrected(gradient) if self.mixed else gradient
        state["last_grad"] = gradient
        state["exp_avg"] = self.beta_1 * state["exp_avg"] + (1.0 - self.beta_1) * c
        if self.lion:
            return learning_rate * np.sign(state["exp_avg"])
        state["exp_avg_sq"] = (
            self.beta_2 * state["exp_avg_sq"] + (1.0 - self.beta_2) * c * c
        )
        root = np.sqrt(state["exp_avg_sq"] / (1.0 - self.beta_2**t)) + self.epsilon
        return learning_rate * state["exp_avg"] / (1.0 - self.beta_1**t) / root


def reference(config, parameter, rates):
    get = config.get
    # Beside Lion the library adds 1e-15 inside the root, and epsilon to the root of v
    # before that is corrected; and Lion's vectors are Adam's there.
    formula = Mars(config, parameter)
    if not (formula.lion and formula.mixed):
        return "formula: arXiv:2411.10438", formula
    optimizer = functools.partial(
        Library,
        betas=(get("beta_1", 0.95), get("beta_2", 0.99)),
        gamma=get("gamma", 0.025),
        mars_type="lion",
        optimize_1d=get("optimize_1d", False),
        weight_decay=get("weight_decay", 0.0),
        maximize=get("maximize", False),
    )
    names = {"exp_avg": "exp_avg", "last_grad": "last_grad"}
    return "pytorch_optimizer.MARS", Named(optimizer, parameter, names)


def cases():
    collected = Cases("mars", 0.01, reference, ("pytorch_optimizer",))
    base = {"name": "mars"}
    vectors = {"optimize_1d": True}
    lion = {"variant": "lion"}
    decay = {"weight_decay": 0.1}
    own = {"gamma": 0.1, "beta_1_1d": 0.7, "beta_2_1d": 0.9}
    collected.everywhere("default", base)
    table = moments(
        options={
            "gamma": {"gamma": 0.1},
            "betas_1d": {"beta_1_1d": 0.7, "beta_2_1d": 0.9},
            "optimize_1d": vectors,
            "lion": lion,
            "lion_weight_decay": {**lion, **decay},
            "lion_optimize_1d": {**lion, **vectors},
        },
        everything=own,
    )
    # With an epsilon, as c can cancel and is divided by itself without beta_2, which
    # f32 cannot resolve.
    table["beta_2_zero"] = {"beta_2": 0.0, "epsilon": 1e-2}
    table["optimize_1d_everything"] = {**table["everything"], **vectors}
    table["lion_everything"] = {**table["optimize_1d_everything"], **lion}
    collected.options(base, table)
    return collected
