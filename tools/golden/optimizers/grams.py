"""Grams."""

import functools

from cases import Cases, moments
from libraries import Named
from pytorch_optimizer import Grams


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        Grams,
        betas=(get("beta_1", 0.9), get("beta_2", 0.999)),
        eps=get("epsilon", 1e-6),
        weight_decay=get("weight_decay", 0.0),
        weight_decouple=True,
        maximize=get("maximize", False),
    )
    names = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"}
    return "pytorch_optimizer.Grams", Named(optimizer, parameter, names)


def cases():
    collected = Cases("grams", 0.01, reference, ("pytorch_optimizer",))
    base = {"name": "grams"}
    collected.everywhere("default", base)
    collected.options(base, moments())
    return collected
