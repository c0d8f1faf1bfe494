"""The optimizers, one file each.

A file has `reference(config, parameter, rates)`, which returns the name of the
source and an object with `step(t, learning_rate, gradient)`, `parameter` and
`state`, and `cases()`, which returns the cases of tests/golden/NAME.json.
"""

import importlib
import pathlib


def names():
    files = pathlib.Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if file.stem != "__init__")


def load(name):
    return importlib.import_module(f"{__name__}.{name}")


def reference(config, parameter, rates):
    return load(config["name"]).reference(config, parameter, rates)
