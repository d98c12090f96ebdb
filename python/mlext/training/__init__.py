"""The training loop: ``Trainer`` with ``fit``, ``evaluate`` and ``predict``, callbacks, history, checkpoints."""

from mlext.training.callbacks import Callback, LambdaCallback, LearningRateScheduler, TerminateOnNaN, TimeLimit
from mlext.training.checkpoint import load_checkpoint, save_checkpoint
from mlext.training.history import History
from mlext.training.loggers import CSVLogger, ProgressBar, TensorBoard
from mlext.training.monitors import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from mlext.training.trainer import Trainer

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
    "TimeLimit",
    "Trainer",
    "load_checkpoint",
    "save_checkpoint",
]
