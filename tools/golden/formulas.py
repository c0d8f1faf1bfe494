"""Update rules that no pinned library implements, written out in NumPy.

Every class takes the case's `config` and the initial parameter, has
`step(t, learning_rate, gradient)` with t = 1 at the first step, and holds the
result in `parameter` and `state`.
"""

import math

import numpy as np


def rms(x):
    return math.sqrt(np.mean(x * x))


class Formula:
    def __init__(self, config, parameter):
        self.config = config
        self.parameter = parameter.copy()
        self.state = {}
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
            if self.config.get("decoupled_weight_decay", False):
                self.parameter = self.parameter * (1.0 - learning_rate * weight_decay)
            else:
                gradient = gradient + weight_decay * self.parameter
        self.parameter = self.parameter - self.update(t, learning_rate, gradient)


class SgdVelocity(Formula):
    """Momentum with the learning rate inside the buffer.

    buf = mu buf + lr g;  p -= buf
    Nesterov (Sutskever et al. 2013 as rewritten by Keras): p -= mu buf + lr g

    The buffer is the velocity of the usual `v = mu v - lr g; p += v` with the
    sign turned.
    """

    def setup(self, get):
        self.momentum = get("momentum", 0.0)
        self.nesterov = get("nesterov", False)
        self.weight_decay = get("weight_decay", 0.0)
        self.state["momentum_buffer"] = self.zeros()

    def update(self, t, learning_rate, gradient):
        scaled = learning_rate * gradient
        buffer = self.momentum * self.state["momentum_buffer"] + scaled
        self.state["momentum_buffer"] = buffer
        return self.momentum * buffer + scaled if self.nesterov else buffer


class RmspropInsideRoot(Formula):
    """RMSprop with epsilon inside the root, momentum in torch's order.

    u = g / sqrt(v + eps), or g / sqrt(v - m^2 + eps) when centered
    buf = mu buf + u;  p -= lr buf
    """

    def setup(self, get):
        self.alpha = get("alpha", 0.99)
        self.epsilon = get("epsilon", 1e-8)
        self.centered = get("centered", False)
        self.momentum = get("momentum", 0.0)
        self.weight_decay = get("weight_decay", 0.0)
        self.state["square_avg"] = self.zeros()
        if self.centered:
            self.state["grad_avg"] = self.zeros()
        if self.momentum != 0.0:
            self.state["momentum_buffer"] = self.zeros()

    def update(self, t, learning_rate, gradient):
        a, state = self.alpha, self.state
        state["square_avg"] = a * state["square_avg"] + (1.0 - a) * gradient * gradient
        variance = state["square_avg"]
        if self.centered:
            state["grad_avg"] = a * state["grad_avg"] + (1.0 - a) * gradient
            variance = variance - state["grad_avg"] * state["grad_avg"]
        u = gradient / np.sqrt(variance + self.epsilon)
        if self.momentum != 0.0:
            u = self.momentum * state["momentum_buffer"] + u
            state["momentum_buffer"] = u
        return learning_rate * u


class Nadam(Formula):
    """What the scheduled NAdam rules share.

    mu_t = beta_1 (1 - 0.5 0.96^(t psi)),  P_t = mu_1 ... mu_t
    p -= lr [mu_{t+1} m / (1 - P_{t+1}) + (1 - mu_t) g / (1 - P_t)]
            / (sqrt(v / (1 - beta_2^t)) + eps)
    """

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.epsilon = get("epsilon", 1e-8)
        self.momentum_decay = get("momentum_decay", 4e-3)
        self.weight_decay = get("weight_decay", 0.0)
        self.state["exp_avg"] = self.zeros()
        self.state["exp_avg_sq"] = self.zeros()
        self.state["mu_product"] = np.ones(1)

    def mu(self, t):
        return self.beta_1 * (1.0 - 0.5 * 0.96 ** (t * self.momentum_decay))

    def update(self, t, learning_rate, gradient):
        state = self.state
        mu, mu_next = self.mu(t), self.mu(t + 1)
        keep = self.first_moment_decay(mu)
        state["mu_product"] = state["mu_product"] * mu
        state["exp_avg"] = keep * state["exp_avg"] + (1.0 - keep) * gradient
        state["exp_avg_sq"] = (
            self.beta_2 * state["exp_avg_sq"]
            + (1.0 - self.beta_2) * gradient * gradient
        )
        product = float(state["mu_product"][0])
        corrected = mu_next * state["exp_avg"] / (1.0 - product * mu_next) + (
            1.0 - mu
        ) * gradient / (1.0 - product)
        variance = state["exp_avg_sq"] / (1.0 - self.beta_2**t)
        return learning_rate * corrected / (np.sqrt(variance) + self.epsilon)


class NadamKeras(Nadam):
    """Keras 3: the first moment decays with the constant beta_1."""

    def first_moment_decay(self, mu):
        return self.beta_1


class NadamDozat(Nadam):
    """Dozat (2016), Algorithm 2: the first moment decays with mu_t.

    One printing of the algorithm also multiplies v by beta_2; that factor is
    left out, as in the other implementations.
    """

    def first_moment_decay(self, mu):
        return mu


class Adafactor(Formula):
    """What the NumPy Adafactor rules share: the factored second moment.

    Tensors of rank 2 and more are factored along their last two dimensions;
    the dimensions before them are batches. `row_var` is the mean over the last
    dimension and `col_var` the mean over the one before it.
    """

    def setup(self, get):
        self.epsilon_1 = self.config["epsilon_1"]
        self.epsilon_2 = get("epsilon_2", 1e-3)
        self.clip_threshold = get("clip_threshold", 1.0)
        self.decay_rate = get("decay_rate", -0.8)
        self.relative_step = self.config["relative_step"]
        self.scale_parameter = self.config["scale_parameter"]
        self.warmup_init = get("warmup_init", False)
        self.beta_1 = get("beta_1", None)
        self.weight_decay = get("weight_decay", 0.0)
        shape = self.parameter.shape
        if len(shape) >= 2:
            self.state["row_var"] = np.zeros(shape[:-1])
            self.state["col_var"] = np.zeros(shape[:-2] + shape[-1:])
        else:
            self.state["variance"] = self.zeros()
        if self.beta_1 is not None:
            self.state["exp_avg"] = self.zeros()

    def rate(self, t, learning_rate):
        """The learning rate of this parameter at step t."""
        rho = learning_rate
        if self.relative_step:
            largest = 1e-6 * t if self.warmup_init else 1e-2
            rho = min(largest, 1.0 / math.sqrt(t))
        if self.scale_parameter:
            rho = max(self.epsilon_2, rms(self.parameter)) * rho
        return rho

    def scaled_gradient(self, t, gradient):
        """The gradient over the root of its second moment, clipped."""
        beta_2 = 1.0 - float(t) ** self.decay_rate
        square = gradient * gradient + self.epsilon_1
        state = self.state
        if "variance" in state:
            state["variance"] = beta_2 * state["variance"] + (1.0 - beta_2) * square
            u = gradient / np.sqrt(state["variance"])
        else:
            row = beta_2 * state["row_var"] + (1.0 - beta_2) * square.mean(axis=-1)
            col = beta_2 * state["col_var"] + (1.0 - beta_2) * square.mean(axis=-2)
            state["row_var"], state["col_var"] = row, col
            u = self.over_root(gradient, row, col)
        if self.clip_threshold is not None:
            u = u / max(1.0, rms(u) / self.clip_threshold)
        return u


class AdafactorPaper(Adafactor):
    """Algorithms 4, 5 and 6 of Shazeer and Stern, arXiv:1804.04235.

    The paper sums over rows and columns, V = R C / sum(R). With the means
    stored here the same V is R C / mean(R).
    """

    def over_root(self, gradient, row, col):
        mean = row.mean(axis=-1, keepdims=True)[..., None]
        return gradient / np.sqrt(row[..., :, None] * col[..., None, :] / mean)

    def step(self, t, learning_rate, gradient):
        if self.config.get("maximize", False):
            gradient = -gradient
        rate = self.rate(t, learning_rate)
        self.parameter = self.parameter - rate * self.scaled_gradient(t, gradient)


class AdafactorHf(Adafactor):
    """The arithmetic of fairseq and of Hugging Face transformers.

    The first moment is taken of the update after the learning rate is applied,
    and the decay uses the learning rate of the parameter.
    """

    def over_root(self, gradient, row, col):
        row_factor = 1.0 / np.sqrt(row / row.mean(axis=-1, keepdims=True))
        col_factor = 1.0 / np.sqrt(col)
        return row_factor[..., :, None] * col_factor[..., None, :] * gradient

    def step(self, t, learning_rate, gradient):
        if self.config.get("maximize", False):
            gradient = -gradient
        rate = self.rate(t, learning_rate)
        update = rate * self.scaled_gradient(t, gradient)
        if self.beta_1 is not None:
            update = self.beta_1 * self.state["exp_avg"] + (1.0 - self.beta_1) * update
            self.state["exp_avg"] = update
        if self.weight_decay != 0.0:
            self.parameter = self.parameter - self.weight_decay * rate * self.parameter
        self.parameter = self.parameter - update
