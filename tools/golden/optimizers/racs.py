"""RACS."""

import functools

from cases import Cases
from libraries import Named
from pytorch_optimizer import RACS


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        RACS,
        beta=get("beta", 0.9),
        alpha=get("alpha", 0.05),
        gamma=get("gamma", 1.01),
        eps=get("epsilon", 1e-8),
        weight_decay=get("weight_decay", 0.0),
        weight_decouple=True,
        maximize=get("maximize", False),
    )
    names = {"s": "s", "q": "q", "theta": "theta"}
    return "pytorch_optimizer.RACS", Named(optimizer, parameter, names)


def cases():
    # The limit multiplies what single precision rounds, sixty times.
    collected = Cases("racs", 0.1, reference, ("pytorch_optimizer",), single=3)
    base = {"name": "racs"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    table = {
        "beta": {"beta": 0.5},
        "beta_zero": {"beta": 0.0},
        "alpha": {"alpha": 0.2},
        "gamma": {"gamma": 1.3},
        "gamma_large": {"gamma": 100.0},
        "epsilon": {"epsilon": 1e-2},
        "weight_decay": decay,
        "maximize": up,
        "maximize_weight_decay": {**decay, **up},
        "everything": {
            "beta": 0.8,
            "alpha": 0.1,
            "gamma": 1.2,
            "epsilon": 1e-2,
            **decay,
            **up,
        },
    }
    collected.everywhere("default", base)
    collected.options(base, table)
    for case in ("gamma", "everything"):
        collected.add(case, {**base, **table[case]}, [3, 4, 5])
    return collected
