"""PNM, the positive-negative momentum."""

import functools

from cases import Cases
from libraries import Named
from pytorch_optimizer import PNM


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        PNM,
        betas=(get("beta_1", 0.9), get("beta_2", 1.0)),
        weight_decay=get("weight_decay", 0.0),
        weight_decouple=True,
        maximize=get("maximize", False),
    )
    names = {name: name for name in ("pos_momentum", "neg_momentum")}
    return "pytorch_optimizer.PNM", Named(optimizer, parameter, names)


def cases():
    collected = Cases("pnm", 0.05, reference, ("pytorch_optimizer",))
    base = {"name": "pnm"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "beta_1": {"beta_1": 0.7},
            "beta_1_zero": {"beta_1": 0.0},
            "beta_2": {"beta_2": 0.5},
            # Only the momentum whose turn it is.
            "beta_2_zero": {"beta_2": 0.0},
            "betas": {"beta_1": 0.8, "beta_2": 0.3},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {"beta_1": 0.8, "beta_2": 0.6, **decay, **up},
        },
    )
    return collected
