"""RAdam."""

import functools
import math

import numpy as np
import optax
import torch
from cases import FEW_SHAPES, Cases
from formulas import Formula
from libraries import Optax, Torch, find, schedule


class RAdam(Formula):
    """torch's form with a threshold of choice, and optax's with decoupled decay.

    rho_t = rho_inf - 2 t beta_2^t / (1 - beta_2^t),  rho_inf = 2 / (1 - beta_2) - 1
    r = sqrt((rho_t - 4) (rho_t - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho_t))
    torch: u = m_hat r sqrt(1 - beta_2^t) / (sqrt(v) + eps) if rho_t > threshold
    optax: u = m_hat r / (sqrt(v_hat) + eps) if rho_t >= threshold
    u = m_hat otherwise
    """

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.epsilon = get("epsilon", 1e-8)
        self.threshold = get("threshold", 5.0)
        self.torch = get("variant", "torch") == "torch"
        self.state["exp_avg"] = self.zeros()
        self.state["exp_avg_sq"] = self.zeros()

    def update(self, t, learning_rate, gradient):
        state = self.state
        state["exp_avg"] = (
            self.beta_1 * state["exp_avg"] + (1.0 - self.beta_1) * gradient
        )
        state["exp_avg_sq"] = (
            self.beta_2 * state["exp_avg_sq"]
            + (1.0 - self.beta_2) * gradient * gradient
        )
        u = state["exp_avg"] / (1.0 - self.beta_1**t)
        correction = 1.0 - self.beta_2**t
        limit = 2.0 / (1.0 - self.beta_2) - 1.0
        rho = limit - 2.0 * t * self.beta_2**t / correction
        if rho > self.threshold if self.torch else rho >= self.threshold:
            r = math.sqrt(
                (rho - 4.0)
                * (rho - 2.0)
                * limit
                / ((limit - 4.0) * (limit - 2.0) * rho)
            )
            if self.torch:
                root = np.sqrt(state["exp_avg_sq"]) + self.epsilon
                u = u * r * math.sqrt(correction) / root
            else:
                root = np.sqrt(state["exp_avg_sq"] / correction) + self.epsilon
                u = u * r / root
        return learning_rate * u


def reference(config, parameter, rates):
    get = config.get
    betas = (get("beta_1", 0.9), get("beta_2", 0.999))
    epsilon = get("epsilon", 1e-8)
    threshold = get("threshold", 5.0)
    decay = get("weight_decay", 0.0)
    decoupled = get("decoupled_weight_decay", False)
    if get("variant", "torch") == "optax":
        parts = [optax.scale_by_radam(*betas, eps=epsilon, threshold=threshold)]
        # The direction does not depend on the parameter: adding the decay to it
        # is the same as decaying first.
        parts.insert(1 if decoupled else 0, optax.add_decayed_weights(decay))
        parts.append(optax.scale_by_learning_rate(schedule(rates)))

        def read(state):
            part = find(state, optax.ScaleByAdamState)
            return {"exp_avg": part.mu, "exp_avg_sq": part.nu}

        return "the chain of optax.radam", Optax(
            optax.chain(*parts), parameter, read, get("maximize", False)
        )
    if threshold != 5.0:
        return (
            "formula: torch.optim.RAdam with another threshold",
            RAdam(config, parameter),
        )
    optimizer = functools.partial(
        torch.optim.RAdam,
        betas=betas,
        eps=epsilon,
        weight_decay=decay,
        decoupled_weight_decay=decoupled,
        maximize=get("maximize", False),
    )
    return "torch.optim.RAdam", Torch(optimizer, parameter)


def cases():
    collected = Cases("radam", 0.01, reference)
    decay = {"weight_decay": 0.1}
    decoupled = {"weight_decay": 0.1, "decoupled_weight_decay": True}
    up = {"maximize": True}
    for variant in ("torch", "optax"):
        prefix = "" if variant == "torch" else "optax_"
        base = {"name": "radam"}
        if variant == "optax":
            base["variant"] = variant
            collected.everywhere("optax", base, FEW_SHAPES)
        else:
            collected.everywhere("default", base)
        table = {
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            # rho stays below the threshold: never rectified.
            "never_rectified": {"beta_2": 0.6},
            "epsilon": {"epsilon": 1e-2},
            "threshold_four": {"threshold": 4.0},
            "threshold_twenty": {"threshold": 20.0},
            "weight_decay": decay,
            "decoupled": decoupled,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "maximize_decoupled": {**decoupled, **up},
            "everything": {
                "beta_1": 0.8,
                "beta_2": 0.99,
                "epsilon": 1e-2,
                "threshold": 4.0,
                **decoupled,
                **up,
            },
        }
        collected.options(base, {f"{prefix}{case}": x for case, x in table.items()})
    return collected
