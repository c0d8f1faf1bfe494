"""AdaMod."""

import functools

from cases import Cases, moments
from libraries import Named
from pytorch_optimizer import AdaMod


def reference(config, parameter, rates):
    get = config.get
    # As in the authors' code of arXiv:1910.12249, epsilon is added to the root of the
    # second moment before its correction. Their beta_3 is called gamma there.
    optimizer = functools.partial(
        AdaMod,
        betas=(get("beta_1", 0.9), get("beta_2", 0.999), get("beta_3", 0.999)),
        eps=get("epsilon", 1e-8),
        weight_decay=get("weight_decay", 0.0),
        weight_decouple=True,
        maximize=get("maximize", False),
    )
    names = {name: name for name in ("exp_avg", "exp_avg_sq", "exp_avg_lr")}
    return "pytorch_optimizer.AdaMod", Named(optimizer, parameter, names)


def cases():
    # The average of the rates starts at 0 and keeps the steps small.
    collected = Cases("adamod", 0.1, reference, ("pytorch_optimizer",))
    base = {"name": "adamod"}
    collected.everywhere("default", base)
    table = moments(
        options={
            # At the default the average is below nearly every rate, at this below some.
            "beta_3": {"beta_3": 0.9},
            "beta_3_zero": {"beta_3": 0.0},
        },
        everything={"beta_3": 0.7},
    )
    collected.options(base, table)
    return collected
