"""Trains the example `mlp` in NumPy: the same data, weights, batches and mathematics.

    python tools/peers/numpy_mlp.py --epochs 50

It does what `mlp --data deck --optimizer adam --json` does, in float32, and prints the
same keys as one JSON object: `train_loss` after the last epoch, and `seconds`, the time
of all training steps. The two losses agree up to rounding.

Parameters, gradients and both moments of Adam are one array each, and the layers are
views into them, so that the optimizer makes few calls: NumPy's fastest way.
"""

import argparse
import json
import time

import numpy as np

INPUTS, HIDDEN, CLASSES = 20, 64, 3
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def training_data():
    """Slide 12's random numbers, without the 2nd, 7th, 12th, ... sample of each class."""
    random = np.random.RandomState(42)
    features = random.randn(1000, INPUTS).astype(np.float32)
    labels = random.randint(0, CLASSES, 1000)
    kept = np.ones(1000, dtype=bool)
    for label in range(CLASSES):
        kept[np.flatnonzero(labels == label)[1::5]] = False
    return features[kept], labels[kept]


def layers(flat):
    """The weights and biases that `flat` consists of, as views."""
    shapes = ((INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,))
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    parts = np.split(flat, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes)]


def initial_weights(seed):
    """Uniform in +-1/sqrt(inputs of the layer)."""
    random = np.random.RandomState(seed)
    sizes = ((INPUTS, INPUTS * HIDDEN + HIDDEN), (HIDDEN, HIDDEN * CLASSES + CLASSES))
    draws = [(2 * random.rand(size) - 1) / np.sqrt(inputs) for inputs, size in sizes]
    return np.concatenate(draws).astype(np.float32)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def train(seed, epochs, size, rate):
    features, labels = training_data()
    samples = len(labels)
    weights = initial_weights(seed)
    gradients, first, second = (np.zeros_like(weights) for _ in range(3))
    w_1, b_1, w_2, b_2 = layers(weights)
    dw_1, db_1, dw_2, db_2 = layers(gradients)
    random = np.random.RandomState(seed)
    updates = 0
    seconds = 0.0
    for _ in range(epochs):
        start = time.perf_counter()
        order = random.permutation(samples)
        for begin in range(0, samples, size):
            batch = order[begin : begin + size]
            x, y = features[batch], labels[batch]

            hidden = np.tanh(x @ w_1 + b_1)
            delta = softmax(hidden @ w_2 + b_2)
            delta[np.arange(len(y)), y] -= 1
            delta /= len(y)

            np.matmul(hidden.T, delta, out=dw_2)
            delta.sum(axis=0, out=db_2)
            delta = (delta @ w_2.T) * (1 - hidden * hidden)
            np.matmul(x.T, delta, out=dw_1)
            delta.sum(axis=0, out=db_1)

            updates += 1
            first *= BETA_1
            first += (1 - BETA_1) * gradients
            second *= BETA_2
            second += (1 - BETA_2) * (gradients * gradients)
            deviation = np.sqrt(second)
            deviation /= (1 - BETA_2**updates) ** 0.5
            deviation += EPSILON
            weights -= rate / (1 - BETA_1**updates) * (first / deviation)
        seconds += time.perf_counter() - start
    guesses = softmax(np.tanh(features @ w_1 + b_1) @ w_2 + b_2)
    return -float(np.log(guesses[np.arange(samples), labels]).mean()), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=50, metavar="N")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N")
    parser.add_argument("--seed", type=int, default=42, metavar="N")
    parser.add_argument("--lr", type=float, default=0.001, metavar="RATE")
    options = parser.parse_args()
    loss, seconds = train(options.seed, options.epochs, options.batch_size, options.lr)
    print(json.dumps({"train_loss": loss, "seconds": seconds}))


if __name__ == "__main__":
    main()
