"""Outputs of Keras's recurrent layers with drawn weights, into the .npz file that is named; status 77 without Keras.

A process of its own: the package brings a backend, settings in the environment and much else.
"""

import importlib.util
import os
import sys
import warnings

import numpy as np

MISSING = 77
MERGES = (None, "concat", "sum", "mul", "ave")


def main(path: str) -> int:
    backends = [name for name in ("torch", "jax", "tensorflow") if importlib.util.find_spec(name)]
    if not backends or not importlib.util.find_spec("keras"):
        return MISSING
    os.environ.setdefault("KERAS_BACKEND", backends[0])
    warnings.simplefilter("ignore")
    import keras

    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 8, 5)).astype(np.float32)
    found = {"x": x}
    for kind in ("GRU", "LSTM"):
        for merge in MERGES:
            options = {"reset_after": True} if kind == "GRU" else {}
            layer = getattr(keras.layers, kind)(7, return_sequences=True, **options)
            if merge is not None:
                layer = keras.layers.Bidirectional(layer, merge_mode=merge)
            layer.build(x.shape)
            weights = [rng.standard_normal(w.shape).astype(np.float32) / 2 for w in layer.get_weights()]
            layer.set_weights(weights)
            for i, weight in enumerate(weights):
                found[f"{kind}.{merge}.{i}"] = weight
            found[f"{kind}.{merge}"] = keras.ops.convert_to_numpy(layer(x))
    np.savez(path, **found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
