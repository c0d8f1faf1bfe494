"""Optimistic Adam."""

import optax
from cases import Cases, moments
from libraries import Optax, find, schedule


def reference(config, parameter, rates):
    get = config.get
    # The chain of optax.optimistic_adam_v2, with the decay before it.
    transformation = optax.chain(
        optax.add_decayed_weights(get("weight_decay", 0.0)),
        optax.scale_by_adam(
            get("beta_1", 0.9),
            get("beta_2", 0.999),
            eps=get("epsilon", 1e-8),
            nesterov=get("nesterov", True),
        ),
        optax.scale_by_optimistic_gradient(get("alpha", 1.0), get("beta", 1.0)),
        optax.scale_by_learning_rate(schedule(rates)),
    )

    def read(state):
        adam = find(state, optax.ScaleByAdamState)
        return {
            "exp_avg": adam.mu,
            "exp_avg_sq": adam.nu,
            # What Adam made of the gradient, before the optimistic part of the rule.
            "previous_update": state[2].previous_gradient,
        }

    return "the chain of optax.optimistic_adam_v2", Optax(
        transformation, parameter, read, get("maximize", False)
    )


def cases():
    collected = Cases("optimistic_adam", 0.01, reference)
    base = {"name": "optimistic_adam"}
    plain = {"nesterov": False}
    collected.everywhere("default", base)
    table = moments(
        options={
            "alpha": {"alpha": 0.5},
            "beta": {"beta": 0.3},
            "beta_zero": {"beta": 0.0},
            "plain": plain,
            "plain_betas": {**plain, "beta_1": 0.8, "beta_2": 0.99},
            "plain_alpha_beta": {**plain, "alpha": 0.5, "beta": 0.3},
        },
        everything={"alpha": 0.7, "beta": 0.4, **plain},
    )
    collected.options(base, table)
    return collected
