"""FTRL-proximal."""

import functools

from cases import Cases
from libraries import Named
from pytorch_optimizer import FTRL


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        FTRL,
        beta=get("beta", 0.0),
        lambda_1=get("l1", 0.0),
        lambda_2=get("l2", 0.0),
        maximize=get("maximize", False),
    )
    return "pytorch_optimizer.FTRL", Named(optimizer, parameter, {"n": "n", "z": "z"})


def cases():
    collected = Cases("ftrl", 0.1, reference, ("pytorch_optimizer",))
    base = {"name": "ftrl"}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "beta": {"beta": 1.0},
            "l1": {"l1": 1.0},
            # Large enough for most of the parameter to be zero.
            "l1_large": {"l1": 20.0},
            "l2": {"l2": 1.0},
            "l1_l2": {"l1": 5.0, "l2": 2.0},
            "maximize": up,
            "everything": {"beta": 0.5, "l1": 5.0, "l2": 2.0, **up},
        },
    )
    return collected
