"""From sequence to sequence, with attention."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext import dtypes, nn
from mlext import functional as F
from mlext.models.sequences import recurrent
from mlext.nn._door import positive_int
from mlext.random import Rng, resolve
from mlext.tensor import full


class Seq2Seq(nn.Module):
    """An encoder reads a sequence of indices, a decoder writes another one and looks back at what was read.

    The decoder begins with the encoder's last state and reads what it should have written before. Its outputs, of all
    steps at once, are queries of an additive attention over the encoder's, and outputs and contexts together make the
    scores (Luong's order: attention comes behind the decoder, which does not read contexts). So a batch is three calls,
    not one for each step.

    Parameters
    ----------
    source_size, target_size : int
        Different indices on both sides.
    embedding_dim : int
        Features of an index.
    hidden_size, num_layers
        Of the recurrent layers of both, as in :class:`mlext.nn.LSTM`.
    kind : {"gru", "lstm", "rnn"}
        The recurrent layers.
    boundary : int
        The index of the target side that stands before the first step, and at the end and behind it.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values.

    Shapes
    ------
    source : (N, S)
    target : (N, T), what should be written, padded with ``boundary``
    lengths : (N), of the sources, optional
    output : (N, T, target_size), scores of each step of the target when those before it are known

    Raises
    ------
    ValueError
        If a size is not positive, ``kind`` is unknown, or ``boundary`` is no index of the target side.

    Examples
    --------
    >>> import numpy as np
    >>> import mlext as ml
    >>> model = ml.models.Seq2Seq(10, 12, 8, 16, rng=0)
    >>> source, target = np.ones((3, 7), np.int64), np.ones((3, 5), np.int64)
    >>> model(source, target).shape
    (3, 5, 12)
    >>> model.generate(source, 4).shape
    (3, 4)

    References
    ----------
    Bahdanau, Cho and Bengio 2015, "Neural machine translation by jointly learning to align and translate" (the scores
    of attention); Luong, Pham and Manning 2015, "Effective approaches to attention-based neural machine translation",
    section 3.1 (its place).
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        embedding_dim: int = 32,
        hidden_size: int = 128,
        num_layers: int = 1,
        *,
        kind: str = "gru",
        boundary: int = 0,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        layers, rng = recurrent("Seq2Seq", kind), resolve(rng)
        self.source_size, self.target_size, self.embedding_dim = source_size, target_size, embedding_dim
        self.hidden_size, self.num_layers, self.kind, self.boundary = hidden_size, num_layers, kind, boundary
        options: dict[str, Any] = {"dtype": dtype, "rng": rng}
        self.source = nn.Embedding(source_size, embedding_dim, **options)
        self.encoder = layers(embedding_dim, hidden_size, num_layers, **options)
        self.target = nn.Embedding(target_size, embedding_dim, **options)
        self.decoder = layers(embedding_dim, hidden_size, num_layers, **options)
        self.attention = nn.AdditiveAttention(hidden_size, hidden_size, hidden_size, **options)
        self.combine = nn.Linear(2 * hidden_size, hidden_size, activation="tanh", **options)
        self.head = nn.Linear(hidden_size, target_size, **options)
        if not 0 <= boundary < target_size:
            raise ValueError(f"Seq2Seq: argument 'boundary': expected 0 to {target_size - 1}, got {boundary}")

    def forward(self, source: Any, target: Any, lengths: Any = None) -> Any:
        """Return the scores of all steps of the target."""
        read, state = self.encoder(self.source(source), lengths=lengths)
        begin = full((target.shape[0], 1), self.boundary, dtype=target.dtype)
        known = F.concat([begin, target[:, :-1]], 1)
        return self._write(known, state, read, lengths)[0]

    def _write(self, known: Any, state: Any, read: Any, lengths: Any) -> tuple[Any, Any]:
        y, state = self.decoder(self.target(known), state)
        context, _ = self.attention(y, read, lengths)
        return self.head(self.combine(F.concat([y, context], 2))), state

    def generate(self, source: Any, length: int, lengths: Any = None) -> NDArray[np.int64]:
        """Write the most likely index step by step.

        Parameters
        ----------
        source : (N, S)
            What to read.
        length : int
            The most steps to write; fewer if all sequences end before.
        lengths : (N), optional
            Of the sources.

        Returns
        -------
        ndarray, shape (N, T)
            ``boundary`` at the end of a sequence and behind it.

        Raises
        ------
        ValueError
            If ``length`` is not positive.
        """
        positive_int("generate", "length", length)
        source = np.asarray(source)
        step = np.full((len(source), 1), self.boundary, np.int64)
        written: list[NDArray[np.int64]] = []
        done = np.zeros(len(source), bool)
        with self.evaluating():
            read, state = self.encoder(self.source(source), lengths=lengths)
            while len(written) < length and not done.all():
                scores, state = self._write(step, state, read, lengths)
                best = scores[:, 0].numpy().argmax(-1)
                step = np.where(done, self.boundary, best)[:, None]
                done |= step[:, 0] == self.boundary
                written.append(step)
        return np.concatenate(written, 1) if written else np.empty((len(source), 0), np.int64)
