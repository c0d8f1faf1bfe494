"""PAdam."""

import functools

from cases import Cases
from libraries import Named
from pytorch_optimizer import PAdam


def reference(config, parameter, rates):
    get = config.get
    # As in the authors' code, the second moment's correction is outside the power:
    # u = m_hat sqrt(1 - beta_2^t) / (sqrt(v) + eps)^(2 partial). The paper,
    # arXiv:1806.06763, corrects neither moment.
    optimizer = functools.partial(
        PAdam,
        betas=(get("beta_1", 0.9), get("beta_2", 0.999)),
        partial=get("partial", 0.25),
        eps=get("epsilon", 1e-8),
        weight_decay=get("weight_decay", 0.0),
        weight_decouple=True,
        maximize=get("maximize", False),
    )
    names = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"}
    return "pytorch_optimizer.PAdam", Named(optimizer, parameter, names)


def cases():
    collected = Cases("padam", 0.01, reference, ("pytorch_optimizer",))
    base = {"name": "padam"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            "beta_1_zero": {"beta_1": 0.0},
            "beta_2_zero": {"beta_2": 0.0},
            "partial": {"partial": 0.125},
            "partial_half": {"partial": 0.5},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "beta_1": 0.8,
                "beta_2": 0.99,
                "partial": 0.4,
                "epsilon": 1e-2,
                **decay,
                **up,
            },
        },
    )
    return collected
