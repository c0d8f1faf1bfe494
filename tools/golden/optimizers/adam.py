"""Adam."""

import functools

import torch
from cases import Cases
from libraries import Torch


def reference(config, parameter, rates, kind=torch.optim.Adam, weight_decay=0.0):
    get = config.get
    optimizer = functools.partial(
        kind,
        betas=(get("beta_1", 0.9), get("beta_2", 0.999)),
        eps=get("epsilon", 1e-8),
        weight_decay=get("weight_decay", weight_decay),
        amsgrad=get("amsgrad", False),
        maximize=get("maximize", False),
    )
    return f"torch.optim.{kind.__name__}", Torch(optimizer, parameter)


def cases(name="adam", reference=reference):
    collected = Cases(name, 0.01, reference)
    base = {"name": name}
    # With the default beta_2 the second moment grows for all of the steps, and
    # its maximum is itself; with a small one the two differ.
    amsgrad = {"beta_2": 0.6, "amsgrad": True}
    decay = {"weight_decay": 0.1}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            "beta_1_zero": {"beta_1": 0.0},
            "beta_2_near_one": {"beta_2": 0.99999},
            "beta_2_zero": {"beta_2": 0.0},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": decay,
            "amsgrad": {"amsgrad": True},
            "amsgrad_beta_2": amsgrad,
            "amsgrad_weight_decay": {**amsgrad, **decay},
            "maximize": {"maximize": True},
            "maximize_weight_decay": {**decay, "maximize": True},
            "everything": {
                "beta_1": 0.8,
                **amsgrad,
                "epsilon": 1e-2,
                **decay,
                "maximize": True,
            },
        },
    )
    return collected
