"""``mlext.quantize``: a trained model with weights in bytes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from mlext import nn
from mlext.nn.quantized import WeightOnlyLinear, check_group

__all__ = ["quantize"]

BITS = {"int8": 8, "int4": 4}
BATCH = 256  # samples of an array at a time
LEAST_CHANNELS = 4  # of a group: fewer fill no lane of a product of bytes, and float32 is faster

# What becomes of a layer with inputs from a smallest to a largest value.
IN_BYTES: dict[type[nn.Module], Callable[[Any, float, float], nn.Module]] = {
    nn.Linear: nn.QuantizedLinear.from_linear,
    nn.Conv1d: nn.QuantizedConv1d.from_conv,
    nn.Conv2d: nn.QuantizedConv2d.from_conv,
}
# What has a layer with weights of few bits alone.
WEIGHT_ONLY: tuple[type[nn.Module], ...] = (nn.Linear,)
# What becomes of a recurrent layer, whatever its inputs.
RECURRENT: dict[type[nn.Module], Any] = {
    nn.RNN: nn.WeightOnlyRNN,
    nn.GRU: nn.WeightOnlyGRU,
    nn.LSTM: nn.WeightOnlyLSTM,
}


def quantize(
    model: nn.Module, calibration_data: Any = None, *, weights: str = "int8", group_size: int | None = None
) -> nn.Module:
    """Return a copy of a model whose Linear, Conv and recurrent layers have weights of 8 or 4 bits, for inference.

    With calibration data Linear, Conv1d and Conv2d compute in bytes: 8-bit weights and inputs, 32-bit sums. Every
    output of a weight gets the scale of its largest value, ``s_o = max_c |w_oc| / 127``. The input of a layer gets one
    scale and zero, from the smallest and the largest value that the layer sees while the model predicts the calibration
    data.
    Convolutions whose groups have fewer than 4 channels, depthwise ones above all, stay in float32, where they are
    faster. A BatchNorm costs nothing if it is in the weights before: :func:`mlext.fuse`.

    Without it only the weights of Linear layers are quantised, and multiplied in float32: a quarter or an eighth of the
    memory. 4-bit weights get a scale for every 32 neighbours.

    RNN, GRU and LSTM get weights of 8 bits with a scale per row, multiplied in float32, in each of these cases.

    The model itself stays as it is; the copy is saved and loaded like any model.

    Parameters
    ----------
    model : Module
        A trained model with float32 parameters.
    calibration_data : ndarray, Tensor, or iterable of batches, optional
        Inputs as the model will meet them, a hundred or more. Of a batch that is a tuple or list, such as those of a
        DataLoader, the first entry is the input.
    weights : {"int8", "int4"}
        What the weights become; "int4" without calibration data only.
    group_size : int, optional
        Without calibration data: neighbours in a row of a weight that share a scale, a multiple of 32.

    Returns
    -------
    Module
        The copy, in evaluation mode.

    Raises
    ------
    TypeError
        If the model is not a Module, or a layer to quantise has parameters that are not float32.
    ValueError
        If the model has no layer to quantise or a weight that is not finite, the calibration data does not reach a
        layer, or gives one NaN or infinity, or ``weights`` and ``group_size`` are none of the above.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> model = ml.nn.Sequential(ml.nn.Linear(8, 16, rng=0), ml.nn.ReLU(), ml.nn.Linear(16, 3, rng=1))
    >>> x = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    >>> small = ml.quantize(model, x)
    >>> bool(np.abs(small.predict(x) - model.predict(x)).max() < 0.02)
    True
    >>> ml.quantize(model, weights="int4")[0]
    WeightOnlyLinear(in_features=8, out_features=16, bits=4, group_size=32)

    References
    ----------
    Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference".
    """
    _check_options(calibration_data, weights, group_size)
    if not isinstance(model, nn.Module):
        raise TypeError(f"quantize: argument 'model': expected a Module, got {type(model).__name__}")
    made = copy.deepcopy(model).eval()
    kinds = WEIGHT_ONLY if calibration_data is None else tuple(IN_BYTES)
    modules = dict(made.named_modules())
    layers: dict[str, Any] = {
        name: module for name, module in modules.items() if type(module) in kinds and _pays(module)
    }
    recurrent = {name: module for name, module in modules.items() if type(module) in RECURRENT}
    if not layers and not recurrent:
        wanted = "Linear" if calibration_data is None else "Linear, Conv (groups of 4 channels or more)"
        raise ValueError(
            f"quantize: argument 'model': expected a model with a {wanted} or recurrent layer, got one without"
        )
    for name, layer in (layers | recurrent).items():
        _check_weights(name or "the model", layer)
    found: dict[str, nn.Module]
    if calibration_data is None:
        size = 32 if weights == "int4" and group_size is None else group_size
        found = {name: WeightOnlyLinear.from_linear(layer, BITS[weights], size) for name, layer in layers.items()}
    else:
        ranges = _observe(made, layers, calibration_data)
        found = {name: IN_BYTES[type(layer)](layer, *ranges[name]) for name, layer in layers.items()}
    found |= {name: RECURRENT[type(layer)].from_layer(layer) for name, layer in recurrent.items()}
    swap: dict[int, nn.Module] = {}
    for name, layer in (layers | recurrent).items():
        other = swap[id(layer)] = found[name].eval()
        other._hooks = layer._hooks
    return _replaced(made, swap)


def _pays(layer: Any) -> bool:
    """Whether the groups of a convolution, if it is one, have channels enough."""
    groups: int = getattr(layer, "groups", 1)
    return groups == 1 or layer.in_channels // groups >= LEAST_CHANNELS


def _check_weights(name: str, layer: nn.Module) -> None:
    for parameter, value in layer.named_parameters():
        if not parameter.startswith("weight"):
            continue
        if value.dtype != "float32":
            raise TypeError(
                f"quantize: argument 'model': expected float32 parameters, got {value.dtype.name} in {name}; "
                "model.to('float32') converts them"
            )
        if not np.isfinite(value.detach().numpy()).all():
            raise ValueError(f"quantize: argument 'model': expected finite weights, got others in {name}")


def _check_options(calibration_data: Any, weights: str, group_size: int | None) -> None:
    if weights not in BITS:
        raise ValueError(f"quantize: argument 'weights': expected 'int8' or 'int4', got {weights!r}")
    check_group("quantize", group_size)
    if calibration_data is not None and (weights != "int8" or group_size is not None):
        raise ValueError(
            "quantize: argument 'calibration_data': expected None with weights='int4' or a group_size, since inputs "
            "are quantised only with 8-bit rows of weights; leave it out"
        )


def _observe(model: nn.Module, layers: dict[str, Any], data: Any) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest input of each layer."""
    ranges: dict[str, tuple[float, float]] = {}

    def observer(name: str) -> Any:
        def observe(_: nn.Module, inputs: tuple[Any, ...], __: Any) -> None:
            x = inputs[0].numpy()
            if x.size == 0:
                return
            low, high = float(x.min()), float(x.max())
            if not np.isfinite([low, high]).all():
                raise ValueError(
                    f"quantize: argument 'calibration_data': expected finite values in every layer, got {low} to "
                    f"{high} at the input of {name or 'the model'}"
                )
            before = ranges.get(name, (low, high))
            ranges[name] = min(low, before[0]), max(high, before[1])

        return observe

    removers = [layer.register_forward_hook(observer(name)) for name, layer in layers.items()]
    with model.evaluating():
        for x in _batches(data):
            model(x)
    for remove in removers:
        remove()
    missing = [name or "the model" for name in layers if name not in ranges]
    if missing:
        raise ValueError(
            "quantize: argument 'calibration_data': expected inputs that reach every Linear or Conv layer, got none at "
            f"{missing[0]}"
        )
    return ranges


def _batches(data: Any) -> Iterator[Any]:
    if hasattr(data, "shape"):
        for start in range(0, len(data), BATCH):
            yield data[start : start + BATCH]
    elif isinstance(data, Iterable) and not isinstance(data, (str, bytes)):
        for batch in data:
            yield batch[0] if isinstance(batch, (tuple, list)) else batch
    else:
        raise TypeError(
            "quantize: argument 'calibration_data': expected an array or an iterable of batches, got "
            f"{type(data).__name__}"
        )


def _replaced(module: nn.Module, swap: dict[int, nn.Module]) -> nn.Module:
    """Return the module with others in the place of those in ``swap``, by identity."""
    if id(module) in swap:
        return swap[id(module)]
    swap[id(module)] = module
    for name, child in list(module.named_children()):
        other = _replaced(child, swap)
        if other is not child:
            module._replace_child(name, other)
    return module
