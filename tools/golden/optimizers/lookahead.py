"""Lookahead around another optimizer."""

from cases import Cases

from . import reference as inner_reference


class Lookahead:
    """arXiv:1907.08610. After every k-th step of the optimizer inside:

    slow += alpha (p - slow);  p = slow

    Its states stay as they are.
    """

    def __init__(self, inner, config):
        self.inner = inner
        self.k = config.get("k", 5)
        self.alpha = config.get("alpha", 0.5)
        self.slow = inner.parameter.copy()

    def step(self, t, learning_rate, gradient):
        self.inner.step(t, learning_rate, gradient)
        if t % self.k == 0:
            fast = self.inner.parameter
            self.slow = self.slow + self.alpha * (fast - self.slow)
            # Into the memory of the optimizer's own tensor.
            fast[...] = self.slow

    @property
    def parameter(self):
        return self.inner.parameter

    @property
    def state(self):
        return {**self.inner.state, "slow": self.slow}


def reference(config, parameter, rates):
    source, inner = inner_reference(config["optimizer"], parameter, rates)
    return f"formula: arXiv:1907.08610, around {source}", Lookahead(inner, config)


def cases():
    collected = Cases("lookahead", 0.05, reference)
    sgd = {"name": "sgd", "momentum": 0.9}
    adam = {"name": "adam"}
    adamw = {"name": "adamw", "weight_decay": 0.1}
    base = {"name": "lookahead", "optimizer": sgd}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "k": {"k": 3},
            # The last step is four after a synchronization.
            "k_uneven": {"k": 7},
            "k_one": {"k": 1},
            "alpha": {"alpha": 0.8},
            "alpha_one": {"alpha": 1.0},
            "k_alpha": {"k": 7, "alpha": 0.2},
            "sgd_weight_decay": {"optimizer": {**sgd, **decay}},
            "sgd_maximize": {"optimizer": {**sgd, **up}},
        },
    )
    everything = {
        "k": 7,
        "alpha": 0.8,
        "optimizer": {
            **adamw,
            "beta_1": 0.8,
            "beta_2": 0.99,
            "epsilon": 1e-2,
            **up,
        },
    }
    for case, changes in {
        "adam": {"optimizer": adam},
        "adam_k": {"k": 7, "optimizer": adam},
        "adamw": {"optimizer": adamw},
        "rmsprop": {"optimizer": {"name": "rmsprop"}},
        "rmsprop_k_alpha": {"k": 7, "alpha": 0.8, "optimizer": {"name": "rmsprop"}},
        "everything": everything,
    }.items():
        collected.option(case, {**base, **changes}, learning_rate=0.01)
    return collected
