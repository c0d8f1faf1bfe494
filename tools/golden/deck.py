"""The optimizers of the slide deck "Understanding Optimizers in Neural Networks".

The classes are copied as they stand on slides 3, 4, 5, 6, 10 and 11. What they
compute is the reference, mistakes included: the factors of AdaFactor are not
normalised and not corrected for their start at zero, and NAdam corrects its
first moment twice.
"""

import numpy as np


# Slide 3
class MomentumOptimizer:
    def __init__(self, learning_rate=0.01, momentum=0.9):
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.velocity = None

    def update(self, params, grads):
        if self.velocity is None:
            self.velocity = np.zeros_like(params)

        self.velocity = self.momentum * self.velocity - self.learning_rate * grads
        return params + self.velocity


# Slide 4
class AdaGrad:
    def __init__(self, learning_rate=0.01, epsilon=1e-8):
        self.learning_rate = learning_rate
        self.epsilon = epsilon
        self.accumulated_grads = None

    def update(self, params, grads):
        if self.accumulated_grads is None:
            self.accumulated_grads = np.zeros_like(params)

        self.accumulated_grads += np.square(grads)
        adjusted_grads = grads / (np.sqrt(self.accumulated_grads) + self.epsilon)
        return params - self.learning_rate * adjusted_grads


# Slide 5
class RMSprop:
    def __init__(self, learning_rate=0.01, decay_rate=0.9, epsilon=1e-8):
        self.learning_rate = learning_rate
        self.decay_rate = decay_rate
        self.epsilon = epsilon
        self.cache = None

    def update(self, params, grads):
        if self.cache is None:
            self.cache = np.zeros_like(params)

        self.cache = self.decay_rate * self.cache + (1 - self.decay_rate) * np.square(grads)
        adjusted_grads = grads / (np.sqrt(self.cache) + self.epsilon)
        return params - self.learning_rate * adjusted_grads


# Slide 6
class Adam:
    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.m = None
        self.v = None
        self.t = 0

    def update(self, params, grads):
        if self.m is None:
            self.m = np.zeros_like(params)
            self.v = np.zeros_like(params)

        self.t += 1

        # Update biased first moment estimate
        self.m = self.beta1 * self.m + (1 - self.beta1) * grads
        # Update biased second raw moment estimate
        self.v = self.beta2 * self.v + (1 - self.beta2) * np.square(grads)

        # Compute bias-corrected first moment estimate
        m_hat = self.m / (1 - self.beta1**self.t)
        # Compute bias-corrected second raw moment estimate
        v_hat = self.v / (1 - self.beta2**self.t)

        return params - self.learning_rate * m_hat / (np.sqrt(v_hat) + self.epsilon)


# Slide 10
class AdaFactor:
    def __init__(self, learning_rate=0.01, beta2=0.999, epsilon1=1e-30, epsilon2=1e-3):
        self.learning_rate = learning_rate
        self.beta2 = beta2
        self.epsilon1 = epsilon1
        self.epsilon2 = epsilon2
        self.v = None
        self.t = 0

    def update(self, params, grads):
        if len(params.shape) < 2:
            # Fall back to Adam-style update for 1D params
            return self._update_1d(params, grads)

        if self.v is None:
            self.v = {
                'row': np.zeros(params.shape[0]),
                'col': np.zeros(params.shape[1])
            }

        self.t += 1
        decay_rate = 1.0 - self.beta2

        # Update row and column factors
        row_square = np.mean(np.square(grads), axis=1)
        col_square = np.mean(np.square(grads), axis=0)

        self.v['row'] = self.beta2 * self.v['row'] + decay_rate * row_square
        self.v['col'] = self.beta2 * self.v['col'] + decay_rate * col_square

        # Compute scaling factors
        row_scaling = 1.0 / (np.sqrt(self.v['row'] + self.epsilon1))
        col_scaling = 1.0 / (np.sqrt(self.v['col'] + self.epsilon1))

        # Compute update
        scaled_grads = grads * np.outer(row_scaling, col_scaling)
        update = self.learning_rate * scaled_grads

        return params - update

    def _update_1d(self, params, grads):
        if self.v is None:
            self.v = np.zeros_like(params)

        self.v = self.beta2 * self.v + (1 - self.beta2) * np.square(grads)
        update = self.learning_rate * grads / (np.sqrt(self.v) + self.epsilon2)
        return params - update


# Slide 11
class NAdam:
    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.m = None
        self.v = None
        self.t = 0

    def update(self, params, grads):
        if self.m is None:
            self.m = np.zeros_like(params)
            self.v = np.zeros_like(params)

        self.t += 1

        # Update momentum and velocity
        self.m = self.beta1 * self.m + (1 - self.beta1) * grads
        self.v = self.beta2 * self.v + (1 - self.beta2) * np.square(grads)

        # Bias correction
        m_hat = self.m / (1 - self.beta1**self.t)
        v_hat = self.v / (1 - self.beta2**self.t)

        # NAdam update incorporating Nesterov momentum
        m_bar = (self.beta1 * m_hat + (1 - self.beta1) * grads) / (1 - self.beta1**self.t)

        # Final update
        update = self.learning_rate * m_bar / (np.sqrt(v_hat) + self.epsilon)
        return params - update
