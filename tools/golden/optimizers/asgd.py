"""ASGD, the averaged SGD."""

import functools

import torch
from cases import Cases
from libraries import Torch


def reference(config, parameter, rates):
    get = config.get
    # eta of the first step is its learning rate; a later one acts a step late.
    optimizer = functools.partial(
        torch.optim.ASGD,
        lambd=get("lambd", 1e-4),
        alpha=get("alpha", 0.75),
        t0=get("t0", 1e6),
        weight_decay=get("weight_decay", 0.0),
        maximize=get("maximize", False),
    )
    return "torch.optim.ASGD", Torch(optimizer, parameter)


def cases():
    collected = Cases("asgd", 0.1, reference)
    base = {"name": "asgd"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "t0_zero": {"t0": 0.0},
            "t0_five": {"t0": 5.0},
            "lambd": {"lambd": 0.5},
            "lambd_zero": {"lambd": 0.0},
            "alpha": {"lambd": 0.5, "alpha": 0.25},
            "alpha_zero": {"lambd": 0.5, "alpha": 0.0},
            "lambd_t0_five": {"lambd": 0.5, "t0": 5.0},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {"lambd": 0.3, "alpha": 0.5, "t0": 5.0, **decay, **up},
        },
    )
    return collected
