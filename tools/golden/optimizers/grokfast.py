"""Grokfast around another optimizer."""

from cases import Cases

from . import reference as inner_reference


class Grokfast:
    """arXiv:2405.20233, the filter with an exponential average.

    h = alpha h + (1 - alpha) g, at first h = g

    The optimizer inside sees g + lamb h.
    """

    def __init__(self, inner, config):
        self.inner = inner
        self.alpha = config.get("alpha", 0.98)
        self.lamb = config.get("lamb", 2.0)
        self.average = None

    def step(self, t, learning_rate, gradient):
        if t == 1:
            self.average = gradient
        else:
            self.average = self.alpha * self.average + (1.0 - self.alpha) * gradient
        self.inner.step(t, learning_rate, gradient + self.lamb * self.average)

    @property
    def parameter(self):
        return self.inner.parameter

    @property
    def state(self):
        return {**self.inner.state, "grad_ema": self.average}


def reference(config, parameter, rates):
    source, inner = inner_reference(config["optimizer"], parameter, rates)
    return f"formula: arXiv:2405.20233, before {source}", Grokfast(inner, config)


def cases():
    collected = Cases("grokfast", 0.02, reference)
    sgd = {"name": "sgd", "momentum": 0.9}
    adam = {"name": "adam"}
    adamw = {"name": "adamw", "weight_decay": 0.1}
    base = {"name": "grokfast", "optimizer": sgd}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "alpha": {"alpha": 0.8},
            "alpha_zero": {"alpha": 0.0},
            "lamb": {"lamb": 5.0},
            "lamb_zero": {"lamb": 0.0},
            "alpha_lamb": {"alpha": 0.9, "lamb": 0.5},
            # The decay is not in the average.
            "sgd_weight_decay": {"optimizer": {**sgd, **decay}},
            # Nor is the sign.
            "sgd_maximize": {"optimizer": {**sgd, **up}},
            "sgd_maximize_weight_decay": {"optimizer": {**sgd, **decay, **up}},
        },
    )
    everything = {
        "alpha": 0.9,
        "lamb": 3.0,
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
        "adam_alpha_lamb": {"alpha": 0.8, "lamb": 5.0, "optimizer": adam},
        "adamw": {"optimizer": adamw},
        "rmsprop": {"optimizer": {"name": "rmsprop"}},
        "everything": everything,
    }.items():
        collected.option(case, {**base, **changes}, learning_rate=0.01)
    return collected
