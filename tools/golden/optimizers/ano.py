"""Ano."""

import functools

from cases import Cases, moments
from libraries import Named
from pytorch_optimizer import Ano


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        Ano,
        betas=(get("beta_1", 0.92), get("beta_2", 0.99)),
        eps=get("epsilon", 1e-8),
        weight_decay=get("weight_decay", 0.0),
        weight_decouple=True,
        maximize=get("maximize", False),
    )
    names = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"}
    return "pytorch_optimizer.Ano", Named(optimizer, parameter, names)


def cases():
    collected = Cases("ano", 1e-3, reference, ("pytorch_optimizer",))
    base = {"name": "ano"}
    collected.everywhere("default", base)
    table = moments()
    # Without beta_2 the second moment falls below zero, and the reference is NaN.
    del table["beta_2_zero"]
    collected.options(base, table)
    return collected
