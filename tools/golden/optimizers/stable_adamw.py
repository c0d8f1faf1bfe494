"""StableAdamW."""

import functools

from cases import Cases, moments
from libraries import Named
from pytorch_optimizer import StableAdamW


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        StableAdamW,
        betas=(get("beta_1", 0.9), get("beta_2", 0.99)),
        eps=get("epsilon", 1e-8),
        weight_decay=get("weight_decay", 0.01),
        weight_decouple=True,
        maximize=get("maximize", False),
    )
    names = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"}
    return "pytorch_optimizer.StableAdamW", Named(optimizer, parameter, names)


def cases():
    collected = Cases("stable_adamw", 0.01, reference, ("pytorch_optimizer",))
    base = {"name": "stable_adamw"}
    collected.everywhere("default", base)
    table = moments(options={"weight_decay_zero": {"weight_decay": 0.0}})
    collected.options(base, table)
    return collected
