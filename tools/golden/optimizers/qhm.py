"""QHM, the quasi-hyperbolic momentum."""

import functools

from cases import Cases
from libraries import Named
from pytorch_optimizer import QHM


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        QHM,
        momentum=get("momentum", 0.999),
        nu=get("nu", 0.7),
        weight_decay=get("weight_decay", 0.0),
        weight_decouple=False,
        maximize=get("maximize", False),
    )
    names = {"momentum_buffer": "momentum_buffer"}
    return "pytorch_optimizer.QHM", Named(optimizer, parameter, names)


def cases():
    collected = Cases("qhm", 0.1, reference, ("pytorch_optimizer",))
    base = {"name": "qhm"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "momentum": {"momentum": 0.9},
            "momentum_zero": {"momentum": 0.0},
            "nu": {"nu": 0.3},
            "nu_one": {"momentum": 0.9, "nu": 1.0},
            "nu_zero": {"nu": 0.0},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {"momentum": 0.9, "nu": 0.5, **decay, **up},
        },
    )
    return collected
