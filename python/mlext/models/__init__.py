"""Complete networks, made of the layers of ``mlext.nn``; and the weights of PyTorch's networks of the same names.

Every function here returns a ``Sequential``: it trains, saves, loads, quantises and fuses like one that is written by
hand.

Examples
--------
>>> import mlext as ml
>>> model = ml.models.resnet18(num_classes=10, rng=0)
>>> ml.fuse(model.eval()).predict(ml.ones(1, 64, 64, 3)).shape
(1, 10)
"""

from mlext.models.checkpoints import from_torch
from mlext.models.images import lenet5, mobilenet_v2, vgg16
from mlext.models.residual import resnet18, resnet50
from mlext.models.segmentation import conv_autoencoder, unet

__all__ = [
    "conv_autoencoder",
    "from_torch",
    "lenet5",
    "mobilenet_v2",
    "resnet18",
    "resnet50",
    "unet",
    "vgg16",
]
