"""AdaBelief."""

import optax
from cases import Cases
from libraries import Optax, find, schedule


def reference(config, parameter, rates):
    get = config.get
    epsilon = get("epsilon", 1e-16)
    # The direction does not depend on the parameter: adding the decay to it is the
    # same as decaying first.
    transformation = optax.chain(
        # One epsilon for both: the one that s collects at every step and the one
        # beside its root.
        optax.scale_by_belief(
            get("beta_1", 0.9), get("beta_2", 0.999), eps=epsilon, eps_root=epsilon
        ),
        optax.add_decayed_weights(get("weight_decay", 0.0)),
        optax.scale_by_learning_rate(schedule(rates)),
    )

    def read(state):
        part = find(state, optax.ScaleByBeliefState)
        return {"exp_avg": part.mu, "exp_avg_var": part.nu}

    return "the chain of optax.adabelief", Optax(
        transformation, parameter, read, get("maximize", False)
    )


def cases():
    collected = Cases("adabelief", 0.01, reference)
    base = {"name": "adabelief"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            # With an epsilon, as g - m is 0 without beta_1 and can be small without beta_2.
            "beta_1_zero": {"beta_1": 0.0, "epsilon": 1e-3},
            "beta_2_zero": {"beta_2": 0.0, "epsilon": 1e-3},
            "epsilon": {"epsilon": 1e-3},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "beta_1": 0.8,
                "beta_2": 0.99,
                "epsilon": 1e-3,
                **decay,
                **up,
            },
        },
    )
    return collected
