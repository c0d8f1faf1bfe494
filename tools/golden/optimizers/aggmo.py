"""AggMo, the aggregated momentum, with three momenta."""

from cases import Cases
from formulas import Formula


class AggMo(Formula):
    """arXiv:1804.00325: b_i = beta_i b_i + g;  p -= lr / 3 (b_1 + b_2 + b_3)"""

    def setup(self, get):
        self.betas = (get("beta_1", 0.0), get("beta_2", 0.9), get("beta_3", 0.99))
        for i in (1, 2, 3):
            self.state[f"momentum_buffer_{i}"] = self.zeros()

    def update(self, t, learning_rate, gradient):
        total = self.zeros()
        for beta, name in zip(self.betas, self.state):
            self.state[name] = beta * self.state[name] + gradient
            total = total + self.state[name]
        return learning_rate / 3.0 * total


def reference(config, parameter, rates):
    # pytorch_optimizer's buffers are under their betas, so that no two may be equal.
    return "formula: arXiv:1804.00325", AggMo(config, parameter)


def cases():
    collected = Cases("aggmo", 0.05, reference)
    base = {"name": "aggmo"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "beta_1": {"beta_1": 0.5},
            "beta_2": {"beta_2": 0.8},
            "beta_3": {"beta_3": 0.95},
            "equal_betas": {"beta_1": 0.9, "beta_2": 0.9, "beta_3": 0.9},
            "betas_zero": {"beta_2": 0.0, "beta_3": 0.0},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "beta_1": 0.3,
                "beta_2": 0.7,
                "beta_3": 0.95,
                **decay,
                **up,
            },
        },
    )
    return collected
