"""Optimizers, learning-rate schedules, and what is done to gradients before a step."""

from mlext.optim.adam import Adam, Adamax, AdamW, Nadam, RAdam
from mlext.optim.adaptive import Adadelta, Adagrad, RMSprop
from mlext.optim.averaging import ExponentialMovingAverage
from mlext.optim.combined import ReduceLROnPlateau, SequentialLR
from mlext.optim.cyclic import CyclicLR, OneCycleLR
from mlext.optim.gradients import (
    LossScaler,
    add_penalty,
    clip_grad_norm,
    clip_grad_value,
)
from mlext.optim.lbfgs import LBFGS
from mlext.optim.lion import Lion
from mlext.optim.optimizer import Optimizer
from mlext.optim.schedule import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    InverseTimeDecay,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    Schedule,
    StepLR,
)
from mlext.optim.sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "ExponentialMovingAverage",
    "InverseTimeDecay",
    "LambdaLR",
    "LinearLR",
    "Lion",
    "LossScaler",
    "MultiStepLR",
    "Nadam",
    "OneCycleLR",
    "Optimizer",
    "PolynomialLR",
    "RAdam",
    "RMSprop",
    "ReduceLROnPlateau",
    "Schedule",
    "SequentialLR",
    "StepLR",
    "add_penalty",
    "clip_grad_norm",
    "clip_grad_value",
]
