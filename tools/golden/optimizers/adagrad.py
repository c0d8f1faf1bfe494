"""Adagrad."""

import functools

import optax
import torch
from cases import FEW_SHAPES, Cases
from libraries import Optax, Torch, find, schedule


def reference(config, parameter, rates):
    get = config.get
    if get("epsilon_inside_root", False):
        lr_decay = get("lr_decay", 0.0)
        decayed = [rate / (1.0 + i * lr_decay) for i, rate in enumerate(rates)]
        transformation = optax.chain(
            optax.add_decayed_weights(get("weight_decay", 0.0)),
            optax.adagrad(
                schedule(decayed),
                initial_accumulator_value=get("initial_accumulator_value", 0.0),
                eps=get("epsilon", 1e-10),
            ),
        )

        def read(state):
            return {"sum": find(state, optax.ScaleByRssState).sum_of_squares}

        return "optax.adagrad", Optax(
            transformation, parameter, read, get("maximize", False)
        )
    optimizer = functools.partial(
        torch.optim.Adagrad,
        lr_decay=get("lr_decay", 0.0),
        initial_accumulator_value=get("initial_accumulator_value", 0.0),
        eps=get("epsilon", 1e-10),
        weight_decay=get("weight_decay", 0.0),
        maximize=get("maximize", False),
    )
    return "torch.optim.Adagrad", Torch(optimizer, parameter)


def cases():
    collected = Cases("adagrad", 0.1, reference)
    base = {"name": "adagrad"}
    inside = {
        "initial_accumulator_value": 0.1,
        "epsilon": 1e-7,
        "epsilon_inside_root": True,
    }
    collected.everywhere("default", base)
    collected.everywhere("inside_root", {**base, **inside}, FEW_SHAPES)
    collected.options(
        base,
        {
            "lr_decay": {"lr_decay": 0.05},
            "initial_accumulator_value": {"initial_accumulator_value": 0.5},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": {"weight_decay": 0.1},
            "maximize": {"maximize": True},
            "maximize_weight_decay": {"weight_decay": 0.1, "maximize": True},
            "everything": {
                "lr_decay": 0.05,
                "initial_accumulator_value": 0.5,
                "epsilon": 1e-2,
                "weight_decay": 0.1,
                "maximize": True,
            },
            "inside_root_epsilon": {"epsilon": 1e-2, "epsilon_inside_root": True},
            "inside_root_everything": {
                "lr_decay": 0.05,
                "initial_accumulator_value": 0.1,
                "epsilon": 1e-2,
                "epsilon_inside_root": True,
                "weight_decay": 0.1,
                "maximize": True,
            },
        },
    )
    return collected
