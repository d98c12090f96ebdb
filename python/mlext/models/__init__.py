"""Complete networks, made of the layers of ``mlext.nn``; and weights that others published or trained in PyTorch.

Convolutional networks are functions that return a ``Sequential``: it trains, saves, loads, quantises and fuses like one
that is written by hand. Networks for sequences, texts and series and transformers are modules of their own; they are
saved and loaded too. ``from_torch`` takes PyTorch's values of networks of the same names, and ``load_gpt2``,
``load_bert`` and ``load_llama`` make transformers of published files.

Examples
--------
>>> import mlext as ml
>>> model = ml.models.resnet18(num_classes=10, rng=0)
>>> ml.fuse(model.eval()).predict(ml.ones(1, 64, 64, 3)).shape
(1, 10)
"""

from mlext.models.bert import BERT
from mlext.models.checkpoints import from_torch
from mlext.models.gpt import GPT
from mlext.models.images import lenet5, mobilenet_v2, vgg16
from mlext.models.pretrained import load_bert, load_gpt2, load_llama
from mlext.models.residual import resnet18, resnet50
from mlext.models.segmentation import conv_autoencoder, unet
from mlext.models.sequences import Forecaster, SequenceClassifier
from mlext.models.text import CharacterModel
from mlext.models.time_series import TimeSeriesTransformer
from mlext.models.translation import Seq2Seq
from mlext.models.vision_transformer import VisionTransformer

__all__ = [
    "BERT",
    "CharacterModel",
    "Forecaster",
    "GPT",
    "Seq2Seq",
    "SequenceClassifier",
    "TimeSeriesTransformer",
    "VisionTransformer",
    "conv_autoencoder",
    "from_torch",
    "lenet5",
    "load_bert",
    "load_gpt2",
    "load_llama",
    "mobilenet_v2",
    "resnet18",
    "resnet50",
    "unet",
    "vgg16",
]
