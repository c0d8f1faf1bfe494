"""Lion."""

import optax
from cases import Cases
from libraries import Optax, find, schedule


def reference(config, parameter, rates):
    get = config.get
    # The direction does not depend on the parameter, so that decaying before the
    # step, as here, and adding the decay to it, as optax does, are the same.
    refined = get("refined", False)
    transformation = optax.chain(
        optax.scale_by_lion(
            b1=get("beta_1", 0.9),
            b2=get("beta_2", 0.99),
            mode="refined" if refined else "hard",
        ),
        optax.add_decayed_weights(get("weight_decay", 0.0)),
        optax.scale_by_learning_rate(schedule(rates)),
    )

    def read(state):
        return {"exp_avg": find(state, optax.ScaleByLionState).mu}

    maximize = get("maximize", False)
    source = "the chain of optax.lion, refined" if refined else "optax.lion"
    return source, Optax(transformation, parameter, read, maximize)


def cases():
    collected = Cases("lion", 0.001, reference)
    base = {"name": "lion"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "beta_1": {"beta_1": 0.5},
            "beta_2": {"beta_2": 0.9},
            "beta_1_zero": {"beta_1": 0.0},
            "beta_2_zero": {"beta_2": 0.0},
            "betas": {"beta_1": 0.95, "beta_2": 0.98},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {"beta_1": 0.8, "beta_2": 0.95, **decay, **up},
            "refined": {"refined": True},
            "refined_everything": {"refined": True, "beta_1": 0.5, **decay, **up},
        },
    )
    return collected
