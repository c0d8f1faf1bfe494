"""Adamax."""

import functools

import torch
from cases import Cases, moments
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
    collected.everywhere("default", base)
    collected.options(base, moments(beta_2=0.9))
    return collected
