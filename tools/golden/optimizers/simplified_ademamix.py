"""The simplified AdEMAMix."""

import numpy as np
import optax
import optax.contrib
from cases import Cases
from formulas import Formula
from libraries import Optax, find, schedule

from .ademamix import half_life_warmup


class SimplifiedAdEMAMix(Formula):
    """arXiv:2502.02431 with the authors' warm-up of beta_1.

    m = beta_1 m + g, a sum;  u = (m + alpha g) / (sqrt(v_hat) + eps)
    """

    DECOUPLED = True

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.99)
        self.beta_2 = get("beta_2", 0.95)
        self.alpha = get("alpha", 0.0)
        self.beta_1_warmup = get("beta_1_warmup", 0)
        self.min_beta_1 = get("min_beta_1", 0.9)
        self.epsilon = get("epsilon", 1e-8)
        self.state["exp_avg"] = self.zeros()
        self.state["exp_avg_sq"] = self.zeros()

    def update(self, t, learning_rate, gradient):
        state = self.state
        beta_1 = half_life_warmup(t, self.beta_1, self.min_beta_1, self.beta_1_warmup)
        state["exp_avg"] = beta_1 * state["exp_avg"] + gradient
        state["exp_avg_sq"] = (
            self.beta_2 * state["exp_avg_sq"]
            + (1.0 - self.beta_2) * gradient * gradient
        )
        root = np.sqrt(state["exp_avg_sq"] / (1.0 - self.beta_2**t)) + self.epsilon
        return learning_rate * (state["exp_avg"] + self.alpha * gradient) / root


def reference(config, parameter, rates):
    get = config.get
    if get("beta_1_warmup", 0) != 0:
        return (
            "formula: arXiv:2502.02431 with the authors' warm-up",
            SimplifiedAdEMAMix(config, parameter),
        )
    # The direction does not depend on the parameter: adding the decay to it is the
    # same as decaying first.
    transformation = optax.chain(
        optax.contrib.scale_by_simplified_ademamix(
            get("beta_1", 0.99),
            get("beta_2", 0.95),
            get("alpha", 0.0),
            get("epsilon", 1e-8),
        ),
        optax.add_decayed_weights(get("weight_decay", 0.0)),
        optax.scale_by_learning_rate(schedule(rates)),
    )

    def read(state):
        part = find(state, optax.contrib.ScaleBySimplifiedAdEMAMixState)
        return {"exp_avg": part.m, "exp_avg_sq": part.n}

    return "the chain of optax.contrib.simplified_ademamix", Optax(
        transformation, parameter, read, get("maximize", False)
    )


def cases():
    collected = Cases("simplified_ademamix", 1e-3, reference)
    base = {"name": "simplified_ademamix"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    warmup = {"beta_1_warmup": 20}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "betas": {"beta_1": 0.9, "beta_2": 0.99},
            "beta_1_zero": {"beta_1": 0.0},
            "beta_2_zero": {"beta_2": 0.0, "epsilon": 1e-2},
            "alpha": {"alpha": 10.0},
            "warmup": warmup,
            "warmup_long": {"beta_1_warmup": 1000},
            "warmup_min_beta_1": {**warmup, "min_beta_1": 0.5},
            "warmup_alpha_weight_decay": {**warmup, "alpha": 3.0, **decay},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "beta_1": 0.95,
                "beta_2": 0.99,
                "alpha": 3.0,
                "beta_1_warmup": 30,
                "min_beta_1": 0.7,
                "epsilon": 1e-2,
                **decay,
                **up,
            },
        },
    )
    return collected
