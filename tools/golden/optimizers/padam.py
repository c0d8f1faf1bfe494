"""PAdam."""

import functools

from cases import Cases, moments
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
    collected.everywhere("default", base)
    table = moments(
        options={"partial": {"partial": 0.125}, "partial_half": {"partial": 0.5}},
        everything={"partial": 0.4},
    )
    collected.options(base, table)
    return collected
