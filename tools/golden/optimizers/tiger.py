"""Tiger."""

import functools

from cases import Cases
from libraries import Named
from pytorch_optimizer import Tiger


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        Tiger,
        beta=get("momentum", 0.965),
        weight_decay=get("weight_decay", 0.01),
        weight_decouple=True,
        maximize=get("maximize", False),
    )
    names = {"exp_avg": "momentum_buffer"}
    return "pytorch_optimizer.Tiger", Named(optimizer, parameter, names)


def cases():
    collected = Cases("tiger", 0.001, reference, ("pytorch_optimizer",))
    base = {"name": "tiger"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "momentum": {"momentum": 0.5},
            "no_weight_decay": {"weight_decay": 0.0},
            "weight_decay": decay,
            "maximize": up,
            "everything": {"momentum": 0.9, **decay, **up},
        },
    )
    return collected
