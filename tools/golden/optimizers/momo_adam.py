"""MoMo-Adam, Adam with Polyak's step size from a model of the loss."""

import momo
from cases import Cases

from .momo import WithLoss, numbers


def library(config):
    get = config.get
    return "momo.MomoAdam", lambda tensors: momo.MomoAdam(
        tensors,
        betas=(get("beta_1", 0.9), get("beta_2", 0.999)),
        eps=get("epsilon", 1e-8),
        lb=get("lower_bound", 0.0),
        use_fstar=get("adaptive_lower_bound", False),
        weight_decay=get("weight_decay", 0.0),
    )


def reference(config, parameter, rates):
    source, make = library(config)
    names = {"grad_avg": "exp_avg", "grad_avg_sq": "exp_avg_sq"}
    return source, WithLoss(make, parameter, names, numbers)


def cases():
    collected = Cases("momo_adam", 0.01, reference, ("momo-opt",))
    base = {"name": "momo_adam"}
    betas = {"beta_1": 0.8, "beta_2": 0.99}
    adaptive = {"adaptive_lower_bound": True}
    decay = {"weight_decay": 0.1}
    everything = {
        **betas,
        "epsilon": 1e-2,
        "lower_bound": 0.03,
        **adaptive,
        **decay,
    }
    collected.everywhere("default", base)
    table = {
        "betas": betas,
        "beta_1_zero": {"beta_1": 0.0},
        "beta_2_zero": {"beta_2": 0.0},
        "epsilon": {"epsilon": 1e-2},
        "lower_bound": {"lower_bound": -0.05},
        "lower_bound_high": {"lower_bound": 0.05},
        "adaptive_lower_bound": adaptive,
        "adaptive_lower_bound_high": {**adaptive, "lower_bound": 0.05},
        "adaptive_lower_bound_weight_decay": {**adaptive, **decay},
        "weight_decay": decay,
        "everything": everything,
    }
    # At the default rate the step size is hardly ever Polyak's, at this one it is for
    # most of the steps.
    for case, changes in table.items():
        collected.option(case, {**base, **changes}, learning_rate=0.05)
    collected.options(
        base,
        {
            "learning_rate_binds_betas": betas,
            "learning_rate_binds_weight_decay": decay,
            "learning_rate_binds_everything": everything,
        },
    )
    return collected
