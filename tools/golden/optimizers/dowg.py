"""DoWG, distance over weighted gradients."""

import optax.contrib
from cases import Cases
from libraries import Optax, find, schedule


def transformation(config, rates):
    get = config.get
    return optax.contrib.dowg(
        schedule(rates),
        init_estim_sq_dist=get("initial_distance_sq"),
        eps=get("epsilon", 1e-4),
        weight_decay=get("weight_decay", 0.0),
    )


def numbers(state):
    # The class is not exported.
    part = find(state, optax.contrib._dog.DoWGState)
    return {
        "distance_sq": part.estim_sq_dist,
        "weighted_sq_norm": part.weighted_sq_norm_grads,
    }


def reference(config, parameter, rates):
    def read(state):
        part = find(state, optax.contrib._dog.DoWGState)
        return {"p0": part.init_params, **numbers(state)}

    made = transformation(config, rates)
    maximize = config.get("maximize", False)
    return "optax.contrib.dowg", Optax(made, parameter, read, maximize)


def cases():
    # Estimates that feed on themselves multiply what single precision rounds.
    collected = Cases("dowg", 1.0, reference, single=50)
    base = {"name": "dowg"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            # Also the squared distance at first.
            "epsilon": {"epsilon": 1e-2},
            "initial_distance_sq": {"initial_distance_sq": 1e-2},
            "initial_distance_sq_epsilon": {
                "initial_distance_sq": 1e-2,
                "epsilon": 1.0,
            },
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "initial_distance_sq": 0.1,
                "epsilon": 0.3,
                **decay,
                **up,
            },
        },
    )
    return collected
