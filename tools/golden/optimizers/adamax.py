"""Adamax."""

import functools

import torch
from cases import Cases
from libraries import Torch


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        torch.optim.Adamax,
        betas=(get("beta_1", 0.9), get("beta_2", 0.999)),
        eps=get("epsilon", 1e-8),
        weight_decay=get("weight_decay", 0.0),
        maximize=get("maximize", False),
    )
    return "torch.optim.Adamax", Torch(optimizer, parameter)


def cases():
    collected = Cases("adamax", 0.01, reference)
    base = {"name": "adamax"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "betas": {"beta_1": 0.8, "beta_2": 0.9},
            "beta_1_zero": {"beta_1": 0.0},
            "beta_2_zero": {"beta_2": 0.0},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "beta_1": 0.8,
                "beta_2": 0.9,
                "epsilon": 1e-2,
                **decay,
                **up,
            },
        },
    )
    return collected
