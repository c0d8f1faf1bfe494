"""NAdam."""

import functools

import numpy as np
import optax
import torch
from cases import FEW_SHAPES, Cases
from formulas import Formula
from libraries import Optax, Torch, find, schedule


class Nadam(Formula):
    """What the scheduled NAdam rules share.

    mu_t = beta_1 (1 - 0.5 0.96^(t psi)),  P_t = mu_1 ... mu_t
    p -= lr [mu_{t+1} m / (1 - P_{t+1}) + (1 - mu_t) g / (1 - P_t)]
            / (sqrt(v / (1 - beta_2^t)) + eps)
    """

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.epsilon = get("epsilon", 1e-8)
        self.momentum_decay = get("momentum_decay", 4e-3)
        self.weight_decay = get("weight_decay", 0.0)
        self.state["exp_avg"] = self.zeros()
        self.state["exp_avg_sq"] = self.zeros()
        self.state["mu_product"] = np.ones(1)

    def mu(self, t):
        return self.beta_1 * (1.0 - 0.5 * 0.96 ** (t * self.momentum_decay))

    def update(self, t, learning_rate, gradient):
        state = self.state
        mu, mu_next = self.mu(t), self.mu(t + 1)
        keep = self.first_moment_decay(mu)
        state["mu_product"] = state["mu_product"] * mu
        state["exp_avg"] = keep * state["exp_avg"] + (1.0 - keep) * gradient
        state["exp_avg_sq"] = (
            self.beta_2 * state["exp_avg_sq"]
            + (1.0 - self.beta_2) * gradient * gradient
        )
        product = float(state["mu_product"][0])
        corrected = mu_next * state["exp_avg"] / (1.0 - product * mu_next) + (
            1.0 - mu
        ) * gradient / (1.0 - product)
        variance = state["exp_avg_sq"] / (1.0 - self.beta_2**t)
        return learning_rate * corrected / (np.sqrt(variance) + self.epsilon)


class NadamKeras(Nadam):
    """Keras 3: the first moment decays with the constant beta_1."""

    def first_moment_decay(self, mu):
        return self.beta_1


class NadamDozat(Nadam):
    """Dozat (2016), Algorithm 2: the first moment decays with mu_t.

    One printing of the algorithm also multiplies v by beta_2; that factor is
    left out, as in the other implementations.
    """

    def first_moment_decay(self, mu):
        return mu


def reference(config, parameter, rates):
    get = config.get
    betas = (get("beta_1", 0.9), get("beta_2", 0.999))
    epsilon = get("epsilon", 1e-8)
    if config["variant"] == "dozat":
        return (
            "formula: Dozat 2016, Algorithm 2",
            NadamDozat(config, parameter),
        )
    if config["variant"] == "optax":
        decay = get("weight_decay", 0.0)
        if get("decoupled_weight_decay", False):
            source = "optax.nadamw"
            transformation = optax.nadamw(
                schedule(rates), *betas, eps=epsilon, weight_decay=decay
            )
        else:
            source = "optax.nadam"
            transformation = optax.chain(
                optax.add_decayed_weights(decay),
                optax.nadam(schedule(rates), *betas, eps=epsilon),
            )

        def read(state):
            part = find(state, optax.ScaleByAdamState)
            return {"exp_avg": part.mu, "exp_avg_sq": part.nu}

        return source, Optax(transformation, parameter, read, get("maximize", False))
    assert config["variant"] == "torch"
    if (get("momentum_decay", 4e-3), epsilon) == (1.0, 1e-7):
        return "keras formula", NadamKeras(config, parameter)
    optimizer = functools.partial(
        torch.optim.NAdam,
        betas=betas,
        eps=epsilon,
        weight_decay=get("weight_decay", 0.0),
        momentum_decay=get("momentum_decay", 4e-3),
        decoupled_weight_decay=get("decoupled_weight_decay", False),
        maximize=get("maximize", False),
    )
    return "torch.optim.NAdam", Torch(optimizer, parameter)


def cases():
    collected = Cases("nadam", 0.01, reference)
    decay = {"weight_decay": 0.1}
    decoupled = {"weight_decay": 0.1, "decoupled_weight_decay": True}
    up = {"maximize": True}
    base = {"name": "nadam", "variant": "torch"}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            "epsilon": {"epsilon": 1e-2},
            "momentum_decay": {"momentum_decay": 0.3},
            "momentum_decay_zero": {"momentum_decay": 0.0},
            "weight_decay": decay,
            "decoupled": decoupled,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "maximize_decoupled": {**decoupled, **up},
            "everything": {
                "beta_1": 0.8,
                "beta_2": 0.99,
                "epsilon": 1e-2,
                "momentum_decay": 0.3,
                **decoupled,
                **up,
            },
        },
    )
    keras = {**base, "momentum_decay": 1.0, "epsilon": 1e-7}
    collected.everywhere("keras", keras, FEW_SHAPES)
    collected.option("keras_weight_decay", {**keras, **decay})
    collected.option("keras_decoupled_maximize", {**keras, **decoupled, **up})
    for variant in ("dozat", "optax"):
        base = {"name": "nadam", "variant": variant}
        collected.everywhere(variant, base, FEW_SHAPES)
        table = {
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": decay,
            "decoupled": decoupled,
            "decoupled_maximize": {**decoupled, **up},
            "maximize_weight_decay": {**decay, **up},
        }
        if variant == "dozat":
            table["momentum_decay"] = {"momentum_decay": 0.3}
        collected.options(base, {f"{variant}_{case}": x for case, x in table.items()})
    return collected
