"""AdamP."""

import functools

from cases import Cases, moments
from libraries import Outputs
from pytorch_optimizer import AdamP


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        AdamP,
        betas=(get("beta_1", 0.9), get("beta_2", 0.999)),
        eps=get("epsilon", 1e-8),
        delta=get("delta", 0.1),
        wd_ratio=get("wd_ratio", 0.1),
        nesterov=get("nesterov", False),
        weight_decay=get("weight_decay", 0.0),
        weight_decouple=True,
        maximize=get("maximize", False),
    )
    names = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"}
    return "pytorch_optimizer.AdamP", Outputs(optimizer, parameter, names)


def cases():
    collected = Cases("adamp", 0.01, reference, ("pytorch_optimizer",))
    base = {"name": "adamp"}
    decay = {"weight_decay": 0.1}
    # Of random gradients and weights: every output is projected in every step; in some
    # steps the outputs are, in some the whole is, in some neither; and nothing ever is.
    always = {"delta": 10.0}
    sometimes = {"delta": 0.9}
    never = {"delta": 0.0}
    ratio = {"wd_ratio": 0.5}
    nesterov = {"nesterov": True}
    everything = {**sometimes, **ratio, **nesterov}
    collected.everywhere("default", base)
    table = moments(
        options={
            "delta": sometimes,
            "delta_large": always,
            "delta_zero": never,
            "nesterov": nesterov,
            "weight_decay_delta": {**sometimes, **decay},
            "weight_decay_delta_large": {**always, **decay},
            "wd_ratio": {**sometimes, **decay, **ratio},
        },
        everything=everything,
    )
    collected.options(base, table)
    for case in ("weight_decay_delta", "weight_decay_delta_large", "everything"):
        collected.add(case, {**base, **table[case]}, [3, 4, 5])
    case = "weight_decay_delta"
    collected.add(case, {**base, **table[case]}, [2, 3, 4, 5])
    return collected
