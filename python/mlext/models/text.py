"""A language model of characters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlext import dtypes, nn
from mlext.models._drawing import Drawing
from mlext.models.gpt import GPT
from mlext.models.sequences import recurrent
from mlext.random import Rng, resolve

# A long text is scored in pieces of so many characters, several side by side, each read from so many before it. Of a
# transformer both together are the context.
_PIECE, _BESIDE, _BEFORE = 1024, 16, 256


class CharacterModel(nn.Module):
    """Scores of the next character from all that came before: embedding, recurrent layers, one dense layer; or a GPT.

    Parameters
    ----------
    vocabulary : str
        The characters; they are sorted, and one that comes twice counts once, so that a text will do.
    embedding_dim : int
        Features of a character; of a transformer those of a step in all layers.
    hidden_size, num_layers
        Of the recurrent layers, as in :class:`mlext.nn.LSTM`; of a transformer ``hidden_dim`` and ``num_layers`` of
        :class:`GPT`.
    kind : {"lstm", "gru", "rnn", "transformer"}
        The recurrent layers, or a :class:`GPT`.
    dropout : float
        Probability with which a feature is dropped between layers and before the last one while training; in a
        transformer as in :class:`GPT`.
    num_heads, context : int, optional
        Of the transformer: heads of attention, by default 4, and characters that are seen at once, by default 256.
    dtype : dtype
        Of the parameters.
    rng : Generator or int, optional
        Source of the initial values and of dropout.

    Shapes
    ------
    indices : (N, T), as of :meth:`encode`; of a transformer at most ``context`` steps
    output : (N, T, V), scores of the character behind each step, for V characters

    Raises
    ------
    ValueError
        If the vocabulary is empty, a size is not positive, ``kind`` is unknown, or recurrent layers get heads or a
        context.

    Examples
    --------
    >>> import mlext as ml
    >>> model = ml.models.CharacterModel("to be or not to be", 8, 16, rng=0)
    >>> model.vocabulary, model(model.encode("to be")[None]).shape
    (' benort', (1, 5, 7))
    >>> len("".join(model.generate("to", 10, rng=0)))
    10

    References
    ----------
    Graves 2013, "Generating sequences with recurrent neural networks".
    """

    def __init__(
        self,
        vocabulary: str,
        embedding_dim: int = 64,
        hidden_size: int = 256,
        num_layers: int = 1,
        *,
        kind: str = "lstm",
        dropout: float = 0.0,
        num_heads: int | None = None,
        context: int | None = None,
        dtype: dtypes.DTypeLike = dtypes.float32,
        rng: Rng = None,
    ) -> None:
        if not isinstance(vocabulary, str) or not vocabulary:
            raise ValueError(f"CharacterModel: argument 'vocabulary': expected characters, got {vocabulary!r}")
        rng = resolve(rng)
        self.vocabulary = "".join(sorted(set(vocabulary)))
        self.embedding_dim, self.hidden_size, self.num_layers = embedding_dim, hidden_size, num_layers
        self.kind, self.dropout = kind, dropout
        self.num_heads, self.context, self.gpt = num_heads, context, None
        size = len(self.vocabulary)
        if kind == "transformer":
            self.num_heads = 4 if num_heads is None else num_heads
            self.context = 256 if context is None else context
            sizes: dict[str, Any] = {"embed_dim": embedding_dim, "hidden_dim": hidden_size, "num_layers": num_layers}
            sizes |= {"context": self.context, "num_heads": self.num_heads}
            self.gpt = GPT(size, dropout=dropout, dtype=dtype, rng=rng, **sizes)
            return
        layers = recurrent("CharacterModel", kind, "transformer")
        for name in ("num_heads", "context"):
            if getattr(self, name) is not None:
                expected = f"None for kind {kind!r}"
                raise ValueError(f"CharacterModel: argument '{name}': expected {expected}, got {getattr(self, name)}")
        self.embedding = nn.Embedding(size, embedding_dim, dtype=dtype, rng=rng)
        self.recurrent = layers(embedding_dim, hidden_size, num_layers, dropout=dropout, dtype=dtype, rng=rng)
        self.drop = nn.Dropout(dropout, rng=rng)
        self.head = nn.Linear(hidden_size, size, dtype=dtype, rng=rng)

    def forward(self, indices: Any) -> Any:
        """Return the scores."""
        return self.advance(indices, None)[0] if self.gpt is None else self.gpt(indices)

    def advance(self, indices: Any, state: Any) -> tuple[Any, Any]:
        """Return the scores, and the state behind the last step, for a text that comes in pieces.

        The pieces of a transformer are at most its context together, and there may be no tape (:func:`mlext.no_grad`).

        Parameters
        ----------
        indices : (N, T)
            What comes next.
        state
            What the piece before returned; None at the beginning.
        """
        if self.gpt is not None:
            caches = self.gpt.new_caches() if state is None else state
            return self.gpt(indices, caches=caches), caches
        y, state = self.recurrent(self.embedding(indices), state)
        return self.head(self.drop(y)), state

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the indices of the characters of a text; ValueError for one that is not in the vocabulary."""
        known, codes = _code_points(self.vocabulary), _code_points(text)
        indices = np.searchsorted(known, codes)
        wrong = np.flatnonzero(known[np.minimum(indices, len(known) - 1)] != codes)
        if len(wrong):
            at = int(wrong[0])
            expected = "expected characters of the model's vocabulary"
            raise ValueError(f"CharacterModel: argument 'text': {expected}, got {text[at]!r} at {at}")
        return indices

    def decode(self, indices: Any) -> str:
        """Return the text of indices."""
        return "".join([self.vocabulary[i] for i in np.asarray(indices).tolist()])

    def generate(
        self,
        prompt: str,
        length: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        rng: Rng = None,
    ) -> Iterator[str]:
        """Go on with a text, character by character; each is there as soon as it is asked for.

        A transformer that has seen more characters than its context goes on as :meth:`GPT.generate` says.

        Parameters
        ----------
        prompt : str
            What it begins with, at least one character; not part of the result.
        length : int
            Characters to give.
        temperature : float
            Scores are divided by it: below 1 likely characters become more likely; 0 takes the most likely one.
        top_k : int, optional
            Draw from so many of the most likely characters, and those as likely as the last of them.
        top_p : float, optional
            Draw from the fewest of the most likely characters that have this share together.
        rng : Generator or int, optional
            Source of randomness.

        Returns
        -------
        iterator of str

        Raises
        ------
        ValueError
            If the prompt is empty or has a character that is not in the vocabulary, or a number is out of range.
        """
        indices = self.encode(prompt)
        if not len(indices):
            raise ValueError("generate: argument 'prompt': expected at least one character, got none")
        return self._drawn(indices, Drawing("length", length, temperature, top_k, top_p, rng))

    def _drawn(self, indices: NDArray[np.int64], draw: Drawing) -> Iterator[str]:
        if self.gpt is not None:
            options: dict[str, Any] = {"temperature": draw.temperature, "top_k": draw.top_k, "top_p": draw.top_p}
            for index in self.gpt.generate(indices, draw.steps, rng=draw.rng, **options):
                yield self.vocabulary[index]
            return
        state, modules = None, list(self.modules())
        for _ in range(draw.steps):
            with self.evaluating(modules):
                scores, state = self.advance(indices[None], state)
            indices = draw(scores[:, -1])
            yield self.decode(indices)

    def bits_per_character(self, text: str) -> float:
        """Return how many bits a character of a text takes on average, but for the first one: less is better.

        Each is scored after all that came before it, in a text of more than 1,024 characters after 256 to 1,280; by a
        transformer after half its context to all of it.

        Raises
        ------
        ValueError
            If the text has fewer than two characters, or one that is not in the vocabulary.
        """
        indices = self.encode(text)
        count = len(indices) - 1
        if count < 1:
            raise ValueError(f"bits_per_character: argument 'text': expected two characters, got {len(indices)}")
        piece, before = _PIECE, _BEFORE
        if self.context is not None:
            piece, before = self.context - self.context // 2, self.context // 2
        total = 0.0
        for first in range(0, count, piece * _BESIDE):
            total += self._nats(indices, range(first, min(first + piece * _BESIDE, count), piece), before)
        return total / math.log(2) / count

    def _nats(self, indices: NDArray[np.int64], begins: range, before: int) -> float:
        """Minus the sum of the logarithms of what the model says of the pieces that begin there."""
        read = np.zeros((len(begins), before + begins.step), np.int64)
        for row, begin in zip(read, begins, strict=True):
            known = indices[max(0, begin - before) : min(begin + begins.step, len(indices) - 1)]
            row[: len(known)] = known
        with self.evaluating():
            scores = self(read).numpy()
        total = 0.0
        for row, begin in zip(scores, begins, strict=True):
            right = indices[begin + 1 : begin + begins.step + 1]
            at = min(begin, before)
            total += _nats(row[at : at + len(right)].astype(np.float64), right)
        return total


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _nats(scores: NDArray[np.float64], right: NDArray[np.int64]) -> float:
    """Minus the sum of the logarithms of the right characters' probabilities."""
    highest = scores.max(1)
    sums = np.log(np.exp(scores - highest[:, None]).sum(1)) + highest
    return float((sums - scores[np.arange(len(right)), right]).sum())
