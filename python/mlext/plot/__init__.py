"""Pictures of training and of networks, by matplotlib's object interface: no global state, no window, any thread.

Needs matplotlib: ``pip install mlext[plot]``.
"""

from mlext.plot.charts import confusion_matrix, forecast, learning_curves
from mlext.plot.images import activations, attention, filters

__all__ = ["activations", "attention", "confusion_matrix", "filters", "forecast", "learning_curves"]
