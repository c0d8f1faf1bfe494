"""Adam with D-Adaptation."""

import dadaptation
from cases import Cases

from .prodigy import WholeModel, limit, silently


def library(config):
    get = config.get
    return "dadaptation.DAdaptAdam", silently(
        lambda tensors: dadaptation.DAdaptAdam(
            tensors,
            betas=(get("beta_1", 0.9), get("beta_2", 0.999)),
            eps=get("epsilon", 1e-8),
            d0=get("d0", 1e-6),
            growth_rate=limit(get("growth_rate")),
            use_bias_correction=get("use_bias_correction", False),
            weight_decay=get("weight_decay", 0.0),
            decouple=True,
        )
    )


def numbers(optimizer):
    group = optimizer.param_groups[0]
    return {name: float(group[name]) for name in ("d", "numerator_weighted")}


def reference(config, parameter, rates):
    source, make = library(config)
    names = {name: name for name in ("exp_avg", "exp_avg_sq", "s")}
    maximize = config.get("maximize", False)
    return source, WholeModel(make, parameter, names, numbers, maximize)


def cases():
    # Estimates that feed on themselves multiply what single precision rounds.
    collected = Cases("dadapt_adam", 1.0, reference, ("dadaptation",), single=10)
    base = {"name": "dadapt_adam"}
    start = {"d0": 1e-2}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    corrected = {"use_bias_correction": True}
    collected.everywhere("default", base)
    collected.options(
        {**base, **start},
        {
            "d0": {},
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            "beta_1_zero": {"beta_1": 0.0},
            "epsilon": {"epsilon": 1e-2},
            "growth_rate": {"growth_rate": 1.02},
            "use_bias_correction": corrected,
            "weight_decay": decay,
            "use_bias_correction_weight_decay": {**corrected, **decay},
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "beta_1": 0.8,
                "beta_2": 0.99,
                "epsilon": 1e-2,
                "growth_rate": 1.05,
                **corrected,
                **decay,
                **up,
            },
        },
    )
    return collected
