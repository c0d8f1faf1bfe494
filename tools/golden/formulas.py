"""What the update rules have in common that are written out in NumPy.

Every class takes the case's `config` and the initial parameter, has
`step(t, learning_rate, gradient)` with t = 1 at the first step, and holds the
result in `parameter` and `state`.
"""

import numpy as np


class Formula:
    # Whether `weight_decay` is decoupled where the case does not say, and its default.
    DECOUPLED = False
    WEIGHT_DECAY = 0.0

    def __init__(self, config, parameter):
        self.config = config
        self.parameter = parameter.copy()
        self.state = {}
        self.weight_decay = config.get("weight_decay", self.WEIGHT_DECAY)
        self.setup(lambda field, default: config.get(field, default))

    def setup(self, get):
        raise NotImplementedError

    def zeros(self):
        return np.zeros_like(self.parameter)

    def step(self, t, learning_rate, gradient):
        if self.config.get("maximize", False):
            gradient = -gradient
        weight_decay = self.weight_decay
        if weight_decay != 0.0:
            if self.config.get("decoupled_weight_decay", self.DECOUPLED):
                self.parameter = self.parameter * (1.0 - learning_rate * weight_decay)
            else:
                gradient = gradient + weight_decay * self.parameter
        self.parameter = self.parameter - self.update(t, learning_rate, gradient)
