"""LAMB."""

import math

import numpy as np
import optax
from cases import Cases, moments
from formulas import Formula
from libraries import Named, Optax, find, schedule
from pytorch_optimizer import Lamb as Library


class LambClamped(Formula):
    """optax.lamb with a bound on the parameter's norm.

    u = m_hat / (sqrt(v_hat) + eps) + wd p;  p -= lr min(|p|, clamp) / |u| u

    The ratio is 1 where p or u is 0.
    """

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.epsilon = get("epsilon", 1e-6)
        self.clamp = get("clamp", None)
        self.state["exp_avg"] = self.zeros()
        self.state["exp_avg_sq"] = self.zeros()

    def step(self, t, learning_rate, gradient):
        state = self.state
        if self.config.get("maximize", False):
            gradient = -gradient
        state["exp_avg"] = (
            self.beta_1 * state["exp_avg"] + (1.0 - self.beta_1) * gradient
        )
        state["exp_avg_sq"] = (
            self.beta_2 * state["exp_avg_sq"]
            + (1.0 - self.beta_2) * gradient * gradient
        )
        root = np.sqrt(state["exp_avg_sq"] / (1.0 - self.beta_2**t)) + self.epsilon
        u = state["exp_avg"] / (1.0 - self.beta_1**t) / root
        u = u + self.weight_decay * self.parameter
        length, norm = np.linalg.norm(self.parameter), np.linalg.norm(u)
        bounded = length if self.clamp is None else min(length, self.clamp)
        ratio = 1.0 if length == 0.0 or norm == 0.0 else bounded / norm
        self.parameter = self.parameter - learning_rate * ratio * u


def reference(config, parameter, rates):
    get = config.get
    clamp = get("clamp", None)
    betas = (get("beta_1", 0.9), get("beta_2", 0.999))
    epsilon = get("epsilon", 1e-6)
    weight_decay = get("weight_decay", 0.0)
    maximize = get("maximize", False)
    if get("variant", "optax") == "pytorch_optimizer":
        bound = math.inf if clamp is None else clamp

        def optimizer(tensors, foreach):
            library = Library(
                tensors,
                betas=betas,
                eps=epsilon,
                weight_decay=weight_decay,
                weight_decouple=True,
                maximize=maximize,
                foreach=foreach,
            )
            # Of the class, without an argument.
            library.clamp = bound
            return library

        source = "pytorch_optimizer.Lamb"
        if bound != Library.clamp:
            source += f" with a clamp of {bound}"
        names = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"}
        return source, Named(optimizer, parameter, names)
    if clamp is not None:
        return "formula: optax.lamb with a clamp", LambClamped(config, parameter)
    transformation = optax.lamb(
        schedule(rates),
        *betas,
        eps=epsilon,
        eps_root=0.0,
        weight_decay=weight_decay,
    )

    def read(state):
        part = find(state, optax.ScaleByAdamState)
        return {"exp_avg": part.mu, "exp_avg_sq": part.nu}

    return "optax.lamb", Optax(transformation, parameter, read, maximize)


def cases():
    collected = Cases("lamb", 0.01, reference, ("pytorch_optimizer",))
    base = {"name": "lamb"}
    library = {"variant": "pytorch_optimizer"}
    # Below the norm of either shape, so that it acts.
    clamp = {"clamp": 0.5}
    collected.everywhere("default", base)
    table = moments(
        options={
            "clamp": clamp,
            "pytorch_optimizer": library,
            "pytorch_optimizer_clamp": {**library, "clamp": 10.0},
            "pytorch_optimizer_everything": {
                **library,
                **clamp,
                "beta_1": 0.8,
                "beta_2": 0.99,
                "epsilon": 1e-2,
                "weight_decay": 0.1,
                "maximize": True,
            },
        },
        everything=clamp,
    )
    collected.options(base, table)
    return collected
