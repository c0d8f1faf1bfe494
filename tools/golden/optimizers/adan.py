"""Adan."""

import numpy as np
import optax
from cases import Cases
from formulas import Formula
from libraries import Optax, find, schedule


class Adan(Formula):
    """The authors' code of arXiv:2208.06677, in whose betas the paper's are 1 - beta.

    d = g - g_previous, 0 at t = 1
    m = beta_1 m + (1 - beta_1) g;  e = beta_2 e + (1 - beta_2) d
    n = beta_3 n + (1 - beta_3) (g + beta_2 d)^2
    u = (m_hat + beta_2 e_hat) / (sqrt(n_hat) + eps)
    p = (p - lr u) / (1 + lr wd), or p *= 1 - lr wd first

    optax.adan has 1 - beta_2 in the place of beta_2, and by default 1e-8 under the
    root, which is left out here.
    """

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.98)
        self.beta_2 = get("beta_2", 0.92)
        self.beta_3 = get("beta_3", 0.99)
        self.epsilon = get("epsilon", 1e-8)
        self.no_prox = get("weight_decay_kind", "proximal") == "decoupled"
        for name in ("exp_avg", "exp_avg_diff", "exp_avg_sq", "previous_grad"):
            self.state[name] = self.zeros()

    def step(self, t, learning_rate, gradient):
        state = self.state
        if self.config.get("maximize", False):
            gradient = -gradient
        difference = gradient - state["previous_grad"] if t > 1 else self.zeros()
        sum = gradient + self.beta_2 * difference
        state["exp_avg"] = (
            self.beta_1 * state["exp_avg"] + (1.0 - self.beta_1) * gradient
        )
        state["exp_avg_diff"] = (
            self.beta_2 * state["exp_avg_diff"] + (1.0 - self.beta_2) * difference
        )
        state["exp_avg_sq"] = (
            self.beta_3 * state["exp_avg_sq"] + (1.0 - self.beta_3) * sum * sum
        )
        state["previous_grad"] = gradient
        u = state["exp_avg"] / (1.0 - self.beta_1**t) + self.beta_2 * state[
            "exp_avg_diff"
        ] / (1.0 - self.beta_2**t)
        u = u / (np.sqrt(state["exp_avg_sq"] / (1.0 - self.beta_3**t)) + self.epsilon)
        decay = learning_rate * self.weight_decay
        if self.no_prox:
            self.parameter = self.parameter * (1.0 - decay) - learning_rate * u
        else:
            self.parameter = (self.parameter - learning_rate * u) / (1.0 + decay)


def reference(config, parameter, rates):
    get = config.get
    if get("variant") == "optax":
        transformation = optax.adan(
            schedule(rates),
            b1=get("beta_1", 0.98),
            b2=get("beta_2", 0.92),
            b3=get("beta_3", 0.99),
            eps=get("epsilon", 1e-8),
            eps_root=0.0,
            weight_decay=get("weight_decay", 0.0),
        )

        def read(state):
            part = find(state, optax.ScaleByAdanState)
            return {
                "exp_avg": part.m,
                "exp_avg_diff": part.v,
                "exp_avg_sq": part.n,
                "previous_grad": part.g,
            }

        maximize = get("maximize", False)
        return "optax.adan", Optax(transformation, parameter, read, maximize)
    return "formula: the authors' Adan", Adan(config, parameter)


def cases():
    collected = Cases("adan", 0.01, reference)
    base = {"name": "adan"}
    decay = {"weight_decay": 0.1}
    no_prox = {"weight_decay_kind": "decoupled"}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "beta_1": {"beta_1": 0.9},
            "beta_2": {"beta_2": 0.5},
            "beta_3": {"beta_3": 0.9},
            "beta_1_zero": {"beta_1": 0.0},
            "beta_2_zero": {"beta_2": 0.0},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": decay,
            "weight_decay_large": {"weight_decay": 10.0},
            "no_prox_weight_decay": {**no_prox, **decay},
            "no_prox_weight_decay_large": {**no_prox, "weight_decay": 10.0},
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "beta_1": 0.9,
                "beta_2": 0.8,
                "beta_3": 0.95,
                "epsilon": 1e-2,
                **no_prox,
                **decay,
                **up,
            },
            "optax": {"variant": "optax"},
            "optax_beta_2": {"variant": "optax", "beta_2": 0.7},
            "optax_weight_decay": {"variant": "optax", **no_prox, **decay},
        },
    )
    return collected
