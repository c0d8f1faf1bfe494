"""The classes of the slide deck."""

import deck
from cases import FEW_SHAPES, Cases
from libraries import Deck


def reference(config, parameter, rates):
    """The deck's class for `config`."""
    name, get = config["name"], config.get
    if name == "slides_momentum":
        return "slide 3", Deck(
            deck.MomentumOptimizer(momentum=get("momentum", 0.9)),
            parameter,
            lambda o: {"velocity": o.velocity},
        )
    if name == "adagrad":
        return "slide 4", Deck(
            deck.AdaGrad(epsilon=config["epsilon"]),
            parameter,
            lambda o: {"sum": o.accumulated_grads},
        )
    if name == "rmsprop":
        return "slide 5", Deck(
            deck.RMSprop(decay_rate=config["alpha"], epsilon=get("epsilon", 1e-8)),
            parameter,
            lambda o: {"square_avg": o.cache},
        )
    if name == "slides_adafactor":
        return "slide 10", Deck(
            deck.AdaFactor(
                beta2=get("beta_2", 0.999),
                epsilon1=get("epsilon_1", 1e-30),
                epsilon2=get("epsilon_2", 1e-3),
            ),
            parameter,
            lambda o: o.v if isinstance(o.v, dict) else {"v": o.v},
        )
    slide, kind = {
        "adam": ("slide 6", deck.Adam),
        "slides_nadam": ("slide 11", deck.NAdam),
    }[name]
    return slide, Deck(
        kind(
            beta1=get("beta_1", 0.9),
            beta2=get("beta_2", 0.999),
            epsilon=get("epsilon", 1e-8),
        ),
        parameter,
        lambda o: {"exp_avg": o.m, "exp_avg_sq": o.v},
    )


def cases():
    collected = Cases("slides", 0.01, reference)
    betas = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
    factors = {"beta_2": 0.999, "epsilon_1": 1e-30, "epsilon_2": 1e-3}
    for case, config in {
        "momentum": {"name": "slides_momentum", "momentum": 0.9},
        "adagrad": {"name": "adagrad", "epsilon": 1e-8},
        "rmsprop": {"name": "rmsprop", "alpha": 0.9, "epsilon": 1e-8},
        "adam": {"name": "adam"},
        "nadam": {"name": "slides_nadam", **betas},
        # The deck's AdaFactor takes vectors and matrices only.
        "adafactor": {"name": "slides_adafactor", **factors},
    }.items():
        collected.everywhere(case, config, FEW_SHAPES)
    return collected
