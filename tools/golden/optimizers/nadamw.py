"""NAdamW."""

from cases import Cases, moments

from . import nadam


def reference(config, parameter, rates):
    given = {"weight_decay": 1e-2, **config}
    given |= {"variant": "torch", "decoupled_weight_decay": True}
    source, optimizer = nadam.reference(given, parameter, rates)
    return f"{source} with decoupled decay", optimizer


def cases():
    collected = Cases("nadamw", 0.01, reference)
    base = {"name": "nadamw"}
    collected.everywhere("default", base)
    table = moments(
        options={
            "momentum_decay": {"momentum_decay": 0.3},
            "momentum_decay_zero": {"momentum_decay": 0.0},
            "no_weight_decay": {"weight_decay": 0.0},
        },
        everything={"momentum_decay": 0.3},
    )
    collected.options(base, table)
    return collected
