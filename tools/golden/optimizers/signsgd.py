"""SignSGD: Signum without momentum."""

from cases import Cases

from .signum import reference as signum


def reference(config, parameter, rates):
    return signum({**config, "momentum": 0.0}, parameter, rates)


def cases():
    collected = Cases("signsgd", 0.001, reference, ("pytorch_optimizer",))
    base = {"name": "signsgd"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base, {"weight_decay": decay, "maximize": up, "everything": {**decay, **up}}
    )
    return collected
