"""Writes the golden values of tests/golden_experiments/: the deck's experiments.

    python tools/golden/experiments.py            write the files
    python tools/golden/experiments.py --check    compare with the files instead

The optimizers are the deck's classes in `deck.py`. Where the deck's is not what
it is named after, there is also the right one.
"""

import argparse
import json
import os
import pathlib
import sys

# One processor's matrix products differ from another's in the last digits.
os.environ["OPENBLAS_CORETYPE"] = "Prescott"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"
sys.dont_write_bytecode = True

import deck
import numpy as np
from deck_data import checksum
from optimizers import adafactor

DIRECTORY = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden_experiments"
DIGITS = 12
TOLERANCE = 1e-8

EPOCHS = 100
SIZES = (10, 50, 100)


# ---------------------------------------------------------------------------
# Optimizers that the deck does not have, with its interface
# ---------------------------------------------------------------------------


class SGD:
    """Slide 2's, with the `update` that slides 7, 12 and 13 call: slide 1's."""

    def __init__(self, learning_rate=0.01):
        self.learning_rate = learning_rate

    def update(self, params, grads):
        return params - self.learning_rate * grads


class NAdam(deck.NAdam):
    """Slide 11's with each term corrected once, for the step it belongs to."""

    def update(self, params, grads):
        if self.m is None:
            self.m = np.zeros_like(params)
            self.v = np.zeros_like(params)
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * grads
        self.v = self.beta2 * self.v + (1 - self.beta2) * np.square(grads)
        m_bar = self.beta1 * self.m / (1 - self.beta1 ** (self.t + 1)) + (
            1 - self.beta1
        ) * grads / (1 - self.beta1**self.t)
        v_hat = self.v / (1 - self.beta2**self.t)
        return params - self.learning_rate * m_bar / (np.sqrt(v_hat) + self.epsilon)


class Adafactor:
    """The paper's, arXiv:1804.04235, with slide 10's learning rate."""

    CONFIG = {"epsilon_1": 1e-30, "relative_step": True, "scale_parameter": True}

    def __init__(self):
        self.rule = None
        self.t = 0

    def update(self, params, grads):
        if self.rule is None:
            self.rule = adafactor.AdafactorPaper(self.CONFIG, params)
        self.t += 1
        self.rule.step(self.t, 0.01, grads)
        return self.rule.parameter


# ---------------------------------------------------------------------------
# Slides 7 and 8
# ---------------------------------------------------------------------------


class LinearRegression:
    """Slide 7's."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.weights = np.random.randn(2, 1)
        self.loss_history = []

    def predict(self, X):
        X_b = np.c_[np.ones((X.shape[0], 1)), X]
        return X_b.dot(self.weights)

    def compute_loss(self, X, y):
        predictions = self.predict(X)
        return np.mean((predictions - y) ** 2)

    def compute_gradients(self, X, y):
        m = X.shape[0]
        X_b = np.c_[np.ones((X.shape[0], 1)), X]
        error = self.predict(X) - y
        return 2 / m * X_b.T.dot(error)

    def fit(self, X, y, epochs=100):
        for _ in range(epochs):
            grads = self.compute_gradients(X, y)
            self.weights = self.optimizer.update(self.weights, grads)
            self.loss_history.append(self.compute_loss(X, y))


def linear_regression():
    np.random.seed(42)
    X = 2 * np.random.rand(100, 1)
    y = 4 + 3 * X + np.random.randn(100, 1)

    def optimizers():
        return {
            "sgd": SGD(learning_rate=0.01),
            "momentum": deck.MomentumOptimizer(learning_rate=0.01),
            "adam": deck.Adam(learning_rate=0.01),
        }

    def fit(models):
        results = {}
        for name, model in models.items():
            start = model.weights.ravel().tolist()
            model.fit(X, y, EPOCHS)
            b, w = model.weights.ravel().tolist()
            results[name] = {"start": start, "w": w, "b": b, "losses": model.loss_history}
        return results

    models = {name: LinearRegression(opt) for name, opt in optimizers().items()}
    first = models["sgd"].weights.copy()
    printed = fit(models)
    models = {name: LinearRegression(opt) for name, opt in optimizers().items()}
    for model in models.values():
        model.weights = first.copy()
    same_start = fit(models)

    design = np.c_[np.ones((100, 1)), X]
    best, (residual,), _, _ = np.linalg.lstsq(design, y, rcond=None)
    return {
        "x_checksum": checksum(X),
        "y_checksum": checksum(y),
        "deck": printed,
        "same_start": same_start,
        "least_squares": {"w": best[1, 0], "b": best[0, 0], "loss": residual / 100},
    }


# ---------------------------------------------------------------------------
# Slide 11
# ---------------------------------------------------------------------------


class Library:
    """A reference of optimizers/ with the deck's interface."""

    def __init__(self, config, learning_rate, steps):
        import optimizers

        self.make = lambda x: optimizers.reference(config, x, [learning_rate] * steps)
        self.learning_rate = learning_rate
        self.rule = None
        self.t = 0

    def update(self, params, grads):
        if self.rule is None:
            _, self.rule = self.make(params)
        self.t += 1
        self.rule.step(self.t, self.learning_rate, grads)
        return self.rule.parameter


def quadratic():
    steps = 10
    optimizers = {
        "adam": deck.Adam(),
        "slides_nadam": deck.NAdam(),
        "nadam_optax": Library({"name": "nadam", "variant": "optax"}, 0.001, steps),
        "nadam_torch": Library({"name": "nadam", "variant": "torch"}, 0.001, steps),
    }
    trajectories = {}
    for name, optimizer in optimizers.items():
        x = np.array([2.0])
        trajectories[name] = [x[0]]
        for _ in range(steps):
            x = np.array(optimizer.update(x, 2 * x))
            trajectories[name].append(x[0])
    return trajectories


# ---------------------------------------------------------------------------
# Slides 12 and 13
# ---------------------------------------------------------------------------


class SimpleNN:
    """Slide 12's. `optimizer` is one for all weights, or a function that makes one for each."""

    def __init__(self, input_size, hidden_size, output_size, optimizer=None):
        self.weights = {
            "W1": np.random.randn(input_size, hidden_size) * 0.01,
            "b1": np.zeros((1, hidden_size)),
            "W2": np.random.randn(hidden_size, output_size) * 0.01,
            "b2": np.zeros((1, output_size)),
        }
        self.optimizer_of = lambda key: optimizer
        self.loss_history = []

    def own_optimizers(self, make):
        optimizers = {key: make() for key in self.weights}
        self.optimizer_of = optimizers.get

    def forward(self, X):
        self.Z1 = np.dot(X, self.weights["W1"]) + self.weights["b1"]
        self.A1 = np.tanh(self.Z1)
        self.Z2 = np.dot(self.A1, self.weights["W2"]) + self.weights["b2"]
        self.A2 = self._softmax(self.Z2)
        return self.A2

    def _softmax(self, x):
        exp_x = np.exp(x - np.max(x, axis=1, keepdims=True))
        return exp_x / np.sum(exp_x, axis=1, keepdims=True)

    def backward(self, X, y, output):
        m = X.shape[0]
        one_hot_y = np.zeros((m, self.weights["W2"].shape[1]))
        one_hot_y[np.arange(m), y] = 1

        dZ2 = output - one_hot_y
        dW2 = np.dot(self.A1.T, dZ2) / m
        db2 = np.sum(dZ2, axis=0, keepdims=True) / m

        dZ1 = np.dot(dZ2, self.weights["W2"].T) * (1 - np.power(self.A1, 2))
        dW1 = np.dot(X.T, dZ1) / m
        db1 = np.sum(dZ1, axis=0, keepdims=True) / m

        return {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}

    def train(self, X, y, epochs=100, batch_size=32):
        m = X.shape[0]
        for _ in range(epochs):
            for i in range(0, m, batch_size):
                batch_X = X[i : i + batch_size]
                batch_y = y[i : i + batch_size]
                output = self.forward(batch_X)
                gradients = self.backward(batch_X, batch_y, output)
                for key in self.weights:
                    self.weights[key] = self.optimizer_of(key).update(
                        self.weights[key], gradients[key]
                    )
            output = self.forward(X)
            loss = -np.mean(np.log(output[np.arange(m), y] + 1e-8))
            self.loss_history.append(loss)


OPTIMIZERS = {
    "sgd": lambda: SGD(learning_rate=0.01),
    "momentum": lambda: deck.MomentumOptimizer(learning_rate=0.01),
    "adam": lambda: deck.Adam(),
    "nadam": lambda: NAdam(),
    "adafactor": lambda: Adafactor(),
    "rmsprop": lambda: deck.RMSprop(),
    "adagrad": lambda: deck.AdaGrad(),
}

SLIDES = {
    "slides_nadam": lambda: deck.NAdam(),
    "slides_adafactor": lambda: deck.AdaFactor(),
}

# Slide 13's own, after the SGD that has no `update`.
PRINTED = {
    "momentum": lambda: deck.MomentumOptimizer(learning_rate=0.01),
    "adam": lambda: deck.Adam(),
    "nadam": lambda: deck.NAdam(),
    "adafactor": lambda: deck.AdaFactor(),
}


def noise(size):
    """Slide 13's data, and a model whose weights every optimizer starts from."""
    np.random.seed(42)
    X = np.random.randn(1000, size)
    y = np.random.randint(0, 3, 1000)
    model = SimpleNN(size, size * 2, 3)
    return X, y, model.weights


def trained(size, weights, X, y, prepare, epochs):
    model = SimpleNN(size, size * 2, 3)
    model.weights = {key: value.copy() for key, value in weights.items()}
    prepare(model)
    model.train(X, y, epochs)
    return model


def near_lowest(losses):
    """Slide 13's `convergence_speed`."""
    return len([loss for loss in losses if loss <= 1.1 * min(losses)])


def benchmark():
    results = {}
    for size in SIZES:
        X, y, weights = noise(size)
        results[str(size)] = {}
        for name, make in {**OPTIMIZERS, **SLIDES}.items():
            model = trained(size, weights, X, y, lambda m: m.own_optimizers(make), 50)
            losses = model.loss_history
            results[str(size)][name] = {
                "losses": losses,
                "near_lowest": near_lowest(losses),
            }
    return {"sizes": results, "shared": shared()}


def shared():
    """One optimizer object for all four weights of a network, as on slides 12 and 13."""
    size = 10
    X, y, weights = noise(size)

    class WithoutUpdate:  # slide 2's methods have other names
        pass

    printed = {}
    for name, make in {"sgd": WithoutUpdate, **PRINTED}.items():
        model = SimpleNN(size, size * 2, 3, make())
        model.weights = {key: value.copy() for key, value in weights.items()}
        try:
            model.train(X, y, 1)
        except (ValueError, AttributeError) as error:
            printed[name] = {
                "error": str(error).strip().replace("WithoutUpdate", "SGD"),
                "b1": list(model.weights["b1"].shape),
            }

    # Two weights of one shape: nothing fails.
    adam = deck.Adam()
    pair = [np.zeros(1), np.zeros(1)]
    steps = []
    for _ in range(2):
        for i, gradient in enumerate((1.0, -1.0)):
            moved = adam.update(pair[i], np.array([gradient]))
            steps.append((pair[i] - moved)[0] / adam.learning_rate)
            pair[i] = moved

    return {"as_printed": printed, "equal_shapes": steps}


# ---------------------------------------------------------------------------


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{DIGITS - 1}e}")
    return value


def text(values):
    head = {"generator": "tools/golden/experiments.py", "numpy": np.__version__}
    parts = {**head, **rounded(values)}.items()
    lines = [f"{json.dumps(key)}: {json.dumps(part)}" for key, part in parts]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def differs(a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() != b.keys() or any(differs(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) != len(b) or any(map(differs, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) > TOLERANCE * max(1.0, abs(b))
    return a != b


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    different = []
    for experiment in (linear_regression, quadratic, benchmark):
        path = DIRECTORY / f"{experiment.__name__}.json"
        new = text(experiment())
        if not check:
            path.write_text(new)
        elif not path.is_file() or differs(json.loads(new), json.loads(path.read_text())):
            different.append(path.name)
    if different:
        sys.exit(f"different: {', '.join(different)}")


if __name__ == "__main__":
    main()
