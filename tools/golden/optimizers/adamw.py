"""AdamW."""

import torch

from . import adam


def reference(config, parameter, rates):
    return adam.reference(config, parameter, rates, torch.optim.AdamW, 1e-2)


def cases():
    collected = adam.cases("adamw", reference)
    collected.option("no_weight_decay", {"name": "adamw", "weight_decay": 0.0})
    return collected
