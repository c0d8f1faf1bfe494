"""Optimistic gradient descent."""

import optax
from cases import Cases
from libraries import Optax, schedule


def reference(config, parameter, rates):
    get = config.get
    transformation = optax.chain(
        optax.add_decayed_weights(get("weight_decay", 0.0)),
        optax.scale_by_optimistic_gradient(get("alpha", 1.0), get("beta", 1.0)),
        optax.scale_by_learning_rate(schedule(rates)),
    )

    def read(state):
        # The gradient that the rule saw: with the decay.
        return {"previous_grad": state[1].previous_gradient}

    return "the chain of optax.optimistic_gradient_descent", Optax(
        transformation, parameter, read, get("maximize", False)
    )


def cases():
    collected = Cases("optimistic_gd", 0.05, reference)
    base = {"name": "optimistic_gd"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "alpha": {"alpha": 0.5},
            "beta": {"beta": 0.3},
            "beta_zero": {"beta": 0.0},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {"alpha": 0.7, "beta": 0.4, **decay, **up},
        },
    )
    return collected
