"""SGDP."""

import functools

from cases import Cases
from libraries import Outputs
from pytorch_optimizer import SGDP


def reference(config, parameter, rates):
    get = config.get
    momentum = get("momentum", 0.0)
    optimizer = functools.partial(
        SGDP,
        momentum=momentum,
        dampening=get("dampening", 0.0),
        nesterov=get("nesterov", False),
        eps=get("epsilon", 1e-8),
        delta=get("delta", 0.1),
        wd_ratio=get("wd_ratio", 0.1),
        weight_decay=get("weight_decay", 0.0),
        weight_decouple=True,
        maximize=get("maximize", False),
    )
    # Without momentum the library's buffer is of no use.
    names = {} if momentum == 0.0 else {"momentum": "momentum_buffer"}
    return "pytorch_optimizer.SGDP", Outputs(optimizer, parameter, names)


def cases():
    collected = Cases("sgdp", 0.1, reference, ("pytorch_optimizer",))
    base = {"name": "sgdp"}
    momentum = {"momentum": 0.9}
    dampening = {"dampening": 0.3}
    nesterov = {"nesterov": True}
    # As in AdamP's cases.
    sometimes = {"delta": 0.9}
    always = {"delta": 10.0}
    never = {"delta": 0.0}
    # It is only in the projection.
    epsilon = {**always, "epsilon": 1e-2}
    ratio = {"wd_ratio": 0.5}
    decay = {"weight_decay": 0.01}
    up = {"maximize": True}
    table = {
        "momentum": momentum,
        "dampening": dampening,
        "momentum_dampening": {**momentum, **dampening},
        "momentum_nesterov": {**momentum, **nesterov},
        "epsilon": epsilon,
        "delta": sometimes,
        "delta_large": always,
        "delta_zero": {**momentum, **never},
        "momentum_delta": {**momentum, **sometimes},
        "momentum_delta_large": {**momentum, **always},
        "weight_decay": decay,
        "momentum_weight_decay": {**momentum, **decay},
        "weight_decay_delta": {**sometimes, **decay},
        "momentum_weight_decay_delta": {**momentum, **sometimes, **decay},
        "momentum_weight_decay_delta_large": {**momentum, **always, **decay},
        "wd_ratio": {**sometimes, **ratio, **decay},
        "maximize": up,
        "maximize_weight_decay": {**decay, **up},
        "everything": {
            "momentum": 0.8,
            **dampening,
            **nesterov,
            **epsilon,
            **sometimes,
            **ratio,
            **decay,
            **up,
        },
    }
    collected.everywhere("default", base)
    collected.options(base, table)
    for case in ("momentum_weight_decay_delta", "delta_large", "everything"):
        collected.add(case, {**base, **table[case]}, [3, 4, 5])
    case = "momentum_weight_decay_delta"
    collected.add(case, {**base, **table[case]}, [2, 3, 4, 5])
    return collected
