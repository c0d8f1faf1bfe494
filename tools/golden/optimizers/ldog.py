"""LDoG, DoG by layers."""

import dog as library
from cases import Cases

from . import dog


def reference(config, parameter, rates):
    def make(tensors):
        return library.LDoG(
            tensors,
            reps_rel=config.get("reps_rel", 1e-6),
            eps=config.get("epsilon", 1e-8),
            weight_decay=config.get("weight_decay", 0.0),
        )

    arguments = (make, parameter, {}, numbers, config.get("maximize", False))
    gamma = config.get("averaging")
    if gamma is None:
        return "dog.LDoG", dog.Dog(*arguments)
    return "dog.LDoG", dog.Averaged(gamma, *arguments)


def numbers(optimizer):
    group = optimizer.param_groups[0]
    return {"rbar": float(group["rbar"][0]), "sum_sq": float(group["G"][0])}


def cases():
    collected = Cases("ldog", 1.0, reference, ("dog-optimizer",))
    base = {"name": "ldog"}
    start = {"reps_rel": 1e-1}
    decay = {"weight_decay": 0.1}
    collected.everywhere("default", base, single=0)
    collected.options(
        {**base, **start},
        {
            "reps_rel": {},
            "epsilon": {"epsilon": 10.0},
            "weight_decay": decay,
            "averaging": {"averaging": 8.0},
            "everything": {"epsilon": 10.0, **decay, "maximize": True},
        },
    )
    return collected
