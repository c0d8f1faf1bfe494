"""CAME."""

import functools

from cases import Cases
from libraries import Named
from pytorch_optimizer import CAME


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        CAME,
        betas=(get("beta_1", 0.9), get("beta_2", 0.999), get("beta_3", 0.9999)),
        eps1=get("epsilon_1", 1e-30),
        eps2=get("epsilon_2", 1e-16),
        clip_threshold=get("clip_threshold", 1.0),
        weight_decay=get("weight_decay", 0.0),
        weight_decouple=True,
        maximize=get("maximize", False),
    )
    names = ["exp_avg"]
    if parameter.ndim < 2:
        names += ["exp_avg_sq"]
    else:
        names += ["exp_avg_sq_row", "exp_avg_sq_col"]
        names += ["exp_avg_res_row", "exp_avg_res_col"]
    names = {name: name for name in names}
    return "pytorch_optimizer.CAME", Named(optimizer, parameter, names)


def cases():
    collected = Cases("came", 1e-3, reference, ("pytorch_optimizer",))
    base = {"name": "came"}
    betas = {"beta_1": 0.8, "beta_2": 0.99, "beta_3": 0.999}
    epsilons = {"epsilon_1": 1e-2, "epsilon_2": 1e-2}
    clip = {"clip_threshold": 0.5}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    table = {
        "betas": betas,
        # Without residuals: only epsilon is left of them.
        "beta_1_zero": {"beta_1": 0.0, "epsilon_2": 1e-2},
        "beta_2_zero": {"beta_2": 0.0},
        "beta_3_zero": {"beta_3": 0.0},
        "epsilon_1": {"epsilon_1": 1e-2},
        "epsilon_2": {"epsilon_2": 1e-2},
        "clip_threshold": clip,
        # Clips at first and not any more later.
        "clip_threshold_large": {"clip_threshold": 6.0},
        "weight_decay": decay,
        "maximize": up,
        "maximize_weight_decay": {**decay, **up},
        "everything": {**betas, **epsilons, **clip, **decay, **up},
    }
    collected.everywhere("default", base)
    collected.options(base, table)
    for case in ("betas", "everything"):
        collected.add(case, {**base, **table[case]}, [3, 4, 5])
    return collected
