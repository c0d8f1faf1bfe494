"""Signum, and with momentum 0 SignSGD."""

import functools

from cases import Cases
from libraries import Named
from pytorch_optimizer import SignSGD


def reference(config, parameter, rates):
    get = config.get
    momentum = get("momentum", 0.9)
    optimizer = functools.partial(
        SignSGD,
        momentum=momentum,
        weight_decay=get("weight_decay", 0.0),
        weight_decouple=True,
        maximize=get("maximize", False),
    )
    # The momentum is a moving average, and without it there is no state.
    names = {"momentum_buffer": "momentum_buffer"} if momentum != 0.0 else {}
    return "pytorch_optimizer.SignSGD", Named(optimizer, parameter, names)


def cases():
    collected = Cases("signum", 0.001, reference, ("pytorch_optimizer",))
    base = {"name": "signum"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    none = {"momentum": 0.0}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "momentum": {"momentum": 0.5},
            "momentum_zero": none,
            "momentum_zero_weight_decay": {**none, **decay},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {"momentum": 0.95, **decay, **up},
            "momentum_zero_everything": {**none, **decay, **up},
        },
    )
    return collected
