"""COCOB-Backprop, the coin betting."""

import optax.contrib
from cases import Cases
from libraries import Optax, find


def reference(config, parameter, rates):
    get = config.get
    # The learning rate of optax would multiply the gradient. It stays 1.
    transformation = optax.contrib.cocob(
        1.0,
        alpha=get("alpha", 100.0),
        eps=get("epsilon", 1e-8),
        weight_decay=get("weight_decay", 0.0),
    )

    def read(state):
        return find(state, optax.contrib.COCOBState)._asdict()

    return "optax.contrib.cocob with a learning rate of 1", Optax(
        transformation, parameter, read, get("maximize", False)
    )


def cases():
    collected = Cases("cocob", 1.0, reference)
    base = {"name": "cocob"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            # At the default alpha bounds the bets for all of the steps, at this only
            # until the gradients' sum is ten times the largest.
            "alpha": {"alpha": 10.0},
            "alpha_small": {"alpha": 2.0},
            # Larger than most of the gradients.
            "epsilon": {"epsilon": 0.9},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {"alpha": 20.0, "epsilon": 0.5, **decay, **up},
        },
    )
    return collected
