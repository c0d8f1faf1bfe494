"""Yogi."""

import optax
from cases import Cases
from libraries import Optax, find, schedule


def reference(config, parameter, rates):
    get = config.get
    transformation = optax.chain(
        optax.add_decayed_weights(get("weight_decay", 0.0)),
        optax.scale_by_yogi(
            get("beta_1", 0.9),
            get("beta_2", 0.999),
            eps=get("epsilon", 1e-3),
            initial_accumulator_value=get("initial_accumulator_value", 1e-6),
        ),
        optax.scale_by_learning_rate(schedule(rates)),
    )

    def read(state):
        part = find(state, optax.ScaleByAdamState)
        return {"exp_avg": part.mu, "exp_avg_sq": part.nu}

    return "the chain of optax.yogi", Optax(
        transformation, parameter, read, get("maximize", False)
    )


def cases():
    collected = Cases("yogi", 0.01, reference)
    base = {"name": "yogi"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "betas": {"beta_1": 0.8, "beta_2": 0.9},
            "beta_1_zero": {"beta_1": 0.0},
            "epsilon": {"epsilon": 1e-8},
            "initial_accumulator_value": {"initial_accumulator_value": 0.1},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "beta_1": 0.8,
                "beta_2": 0.9,
                "epsilon": 1e-2,
                "initial_accumulator_value": 1e-2,
                **decay,
                **up,
            },
        },
    )
    return collected
