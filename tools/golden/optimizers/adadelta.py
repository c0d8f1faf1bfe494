"""Adadelta."""

import functools

import torch
from cases import Cases
from libraries import Torch


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        torch.optim.Adadelta,
        rho=get("rho", 0.9),
        eps=get("epsilon", 1e-6),
        weight_decay=get("weight_decay", 0.0),
        maximize=get("maximize", False),
    )
    return "torch.optim.Adadelta", Torch(optimizer, parameter)


def cases():
    collected = Cases("adadelta", 1.0, reference)
    base = {"name": "adadelta"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "rho": {"rho": 0.5},
            "rho_large": {"rho": 0.99},
            "rho_zero": {"rho": 0.0},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {"rho": 0.7, "epsilon": 1e-3, **decay, **up},
        },
    )
    return collected
