"""AdEMAMix."""

import math

import optax
import optax.contrib
from cases import Cases
from inputs import STEPS
from libraries import Optax, find, schedule


def half_life_warmup(t, beta, start, steps):
    """The authors' warm-up of beta at step t, linear in about its half-life.

    f(b) = ln 0.5 / ln(b + 1e-8) - 1, linear from f(start) to f(beta) over `steps`.
    Going back they leave out the 1e-8.
    """
    if t >= steps:
        return beta
    f_start, f_beta = (math.log(0.5) / math.log(b + 1e-8) - 1.0 for b in (start, beta))
    part = t / steps
    return 0.5 ** (1.0 / ((1.0 - part) * f_start + part * f_beta + 1.0))


def linear_warmup(t, alpha, steps):
    return alpha if t >= steps else alpha * t / steps


def reference(config, parameter, rates):
    get = config.get
    steps = range(1, STEPS + 1)
    beta_1, beta_3 = get("beta_1", 0.9), get("beta_3", 0.9999)
    alpha = get("alpha", 2.0)
    warmup = get("alpha_warmup", 0)
    alphas = [linear_warmup(t, alpha, warmup) for t in steps]
    warmup = get("beta_3_warmup", 0)
    betas = [half_life_warmup(t, beta_3, beta_1, warmup) for t in steps]
    # The direction does not depend on the parameter: adding the decay to it is the
    # same as decaying first.
    transformation = optax.chain(
        optax.contrib.scale_by_ademamix(
            b1=beta_1,
            b2=get("beta_2", 0.999),
            b3=schedule(betas),
            alpha=schedule(alphas),
            eps=get("epsilon", 1e-8),
        ),
        optax.add_decayed_weights(get("weight_decay", 0.0)),
        optax.scale_by_learning_rate(schedule(rates)),
    )

    def read(state):
        part = find(state, optax.contrib.ScaleByAdemamixState)
        return {"exp_avg": part.m1, "exp_avg_sq": part.nu, "exp_avg_slow": part.m2}

    return "the chain of optax.contrib.ademamix, the authors' warm-ups", Optax(
        transformation, parameter, read, get("maximize", False)
    )


def cases():
    collected = Cases("ademamix", 0.01, reference)
    base = {"name": "ademamix"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "betas": {"beta_1": 0.8, "beta_2": 0.99, "beta_3": 0.999},
            "beta_1_zero": {"beta_1": 0.0},
            "beta_2_zero": {"beta_2": 0.0},
            "alpha": {"alpha": 8.0},
            "alpha_beta_3": {"alpha": 8.0, "beta_3": 0.95},
            "alpha_zero": {"alpha": 0.0},
            "alpha_warmup": {"alpha": 8.0, "beta_3": 0.99, "alpha_warmup": 20},
            "alpha_warmup_long": {"alpha": 8.0, "beta_3": 0.99, "alpha_warmup": 100},
            "beta_3_warmup": {"alpha": 8.0, "beta_3_warmup": 20},
            "beta_3_warmup_long": {"alpha": 8.0, "beta_3_warmup": 1000},
            "warmups": {"alpha": 5.0, "alpha_warmup": 30, "beta_3_warmup": 40},
            "warmup_one": {"alpha_warmup": 1, "beta_3_warmup": 1},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "beta_1": 0.8,
                "beta_2": 0.99,
                "beta_3": 0.999,
                "alpha": 5.0,
                "alpha_warmup": 30,
                "beta_3_warmup": 40,
                "epsilon": 1e-2,
                **decay,
                **up,
            },
        },
    )
    return collected
