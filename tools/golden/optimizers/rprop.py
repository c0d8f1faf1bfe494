"""Rprop."""

import functools

import torch
from cases import Cases
from libraries import Torch


def reference(config, parameter, rates):
    get = config.get
    # Only the first step's learning rate counts: as the initial step size.
    optimizer = functools.partial(
        torch.optim.Rprop,
        etas=(get("eta_minus", 0.5), get("eta_plus", 1.2)),
        step_sizes=(get("step_min", 1e-6), get("step_max", 50.0)),
        maximize=get("maximize", False),
    )
    return "torch.optim.Rprop", Torch(optimizer, parameter)


def cases():
    collected = Cases("rprop", 0.01, reference)
    base = {"name": "rprop"}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "eta_minus": {"eta_minus": 0.8},
            "eta_plus": {"eta_plus": 2.0},
            "step_min": {"step_min": 5e-3},
            "step_max": {"step_max": 1.1e-2},
            "maximize": up,
            "everything": {
                "eta_minus": 0.7,
                "eta_plus": 1.5,
                "step_min": 2e-3,
                "step_max": 2e-2,
                **up,
            },
        },
    )
    return collected
