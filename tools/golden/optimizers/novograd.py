"""NovoGrad."""

import functools

from cases import Cases, moments
from libraries import Named
from pytorch_optimizer import NovoGrad


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        NovoGrad,
        betas=(get("beta_1", 0.95), get("beta_2", 0.98)),
        eps=get("epsilon", 1e-8),
        grad_averaging=get("grad_averaging", False),
        weight_decay=get("weight_decay", 0.0),
        # The decay is part of what the moment collects.
        weight_decouple=False,
        maximize=get("maximize", False),
    )
    names = {"moments": "exp_avg", "grads_ema": "grads_ema"}
    return "pytorch_optimizer.NovoGrad", Named(optimizer, parameter, names)


def cases():
    collected = Cases("novograd", 0.01, reference, ("pytorch_optimizer",))
    base = {"name": "novograd"}
    averaging = {"grad_averaging": True}
    collected.everywhere("default", base)
    table = moments(
        options={
            "grad_averaging": averaging,
            "grad_averaging_weight_decay": {**averaging, "weight_decay": 0.1},
        },
        everything=averaging,
    )
    collected.options(base, table)
    return collected
