"""AccSGD, the accelerated SGD."""

import functools

from cases import Cases
from libraries import Named
from pytorch_optimizer import AccSGD


def reference(config, parameter, rates):
    get = config.get
    # arXiv:1704.08227 as in the authors' code.
    optimizer = functools.partial(
        AccSGD,
        kappa=get("kappa", 1000.0),
        xi=get("xi", 10.0),
        constant=get("small_const", 0.7),
        weight_decay=get("weight_decay", 0.0),
    )
    names = {"momentum_buffer": "momentum_buffer"}
    return "pytorch_optimizer.AccSGD", Named(
        optimizer, parameter, names, get("maximize", False)
    )


def cases():
    collected = Cases("accsgd", 0.05, reference, ("pytorch_optimizer",))
    base = {"name": "accsgd"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "kappa": {"kappa": 100.0},
            "xi": {"xi": 3.0},
            "xi_large": {"xi": 100.0},
            "small_const": {"small_const": 0.3},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "kappa": 200.0,
                "xi": 50.0,
                "small_const": 0.5,
                **decay,
                **up,
            },
        },
    )
    return collected
