"""Published weights of GPT-2, BERT and Llama, in the layout of Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlext import dtypes
from mlext.models._published import Config, Names, Path, fill
from mlext.models.bert import BERT
from mlext.models.gpt import GPT

_LAYER = "blocks.layers.{}"

_GPT2 = Names(
    prefix="transformer.",
    table={
        "tokens": ("wte",),
        "positions": ("wpe",),
        "blocks.norm": ("ln_f",),
        "head": ("lm_head",),
        f"{_LAYER}.norm1": ("h.{}.ln_1",),
        f"{_LAYER}.self_attn.in_proj": ("h.{}.attn.c_attn",),
        f"{_LAYER}.self_attn.out_proj": ("h.{}.attn.c_proj",),
        f"{_LAYER}.norm2": ("h.{}.ln_2",),
        f"{_LAYER}.linear1": ("h.{}.mlp.c_fc",),
        f"{_LAYER}.linear2": ("h.{}.mlp.c_proj",),
    },
    turned=("in_proj_weight", "out_proj.weight", "linear1.weight", "linear2.weight"),
    ignored=r"h\.\d+\.attn\.(masked_)?bias",
)

_BERT = Names(
    prefix="bert.",
    table={
        "tokens": ("embeddings.word_embeddings",),
        "positions": ("embeddings.position_embeddings",),
        "sides": ("embeddings.token_type_embeddings",),
        "norm": ("embeddings.LayerNorm",),
        "pooler": ("pooler.dense",),
        f"{_LAYER}.self_attn.in_proj": tuple(
            [f"encoder.layer.{{}}.attention.self.{n}" for n in ("query", "key", "value")]
        ),
        f"{_LAYER}.self_attn.out_proj": ("encoder.layer.{}.attention.output.dense",),
        f"{_LAYER}.norm1": ("encoder.layer.{}.attention.output.LayerNorm",),
        f"{_LAYER}.linear1": ("encoder.layer.{}.intermediate.dense",),
        f"{_LAYER}.linear2": ("encoder.layer.{}.output.dense",),
        f"{_LAYER}.norm2": ("encoder.layer.{}.output.LayerNorm",),
    },
    turned=(),
    ignored=r"embeddings\.position_ids|cls\..*",
)

_LLAMA = Names(
    prefix="model.",
    table={
        "tokens": ("embed_tokens",),
        "blocks.norm": ("norm",),
        "head": ("lm_head",),
        f"{_LAYER}.norm1": ("layers.{}.input_layernorm",),
        f"{_LAYER}.self_attn.in_proj": tuple([f"layers.{{}}.self_attn.{n}_proj" for n in "qkv"]),
        f"{_LAYER}.self_attn.out_proj": ("layers.{}.self_attn.o_proj",),
        f"{_LAYER}.norm2": ("layers.{}.post_attention_layernorm",),
        **{f"{_LAYER}.mlp.{n}_proj": (f"layers.{{}}.mlp.{n}_proj",) for n in ("gate", "up", "down")},
    },
    turned=(),
    ignored=r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq",
)


def load_gpt2(path: Path, *, config: Mapping[str, Any] | None = None, dtype: dtypes.DTypeLike = dtypes.float32) -> GPT:
    """Make a GPT with published weights of GPT-2.

    Parameters
    ----------
    path : path-like
        A folder with config.json and model.safetensors, or model.safetensors.index.json and the files it names; or one
        of those files.
    config : mapping, optional
        What is in config.json.
    dtype : dtype
        Of the parameters; those of the files are converted.

    Returns
    -------
    GPT
        In evaluation mode.

    Raises
    ------
    FileFormatError
        If a file is malformed.
    OSError
        If one is missing or cannot be read.
    ValueError
        Listing every missing and unexpected tensor, wrong shape and wrong dtype; or if the configuration asks for what
        the model has not.

    Examples
    --------
    >>> import mlext as ml
    >>> gpt2 = ml.models.load_gpt2("gpt2")  # doctest: +SKIP

    References
    ----------
    Radford et al. 2019, "Language models are unsupervised multitask learners".
    """
    found = Config("load_gpt2", path, config, "gpt2")
    for name, only in (("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False)):
        found.refuse(name, only)
    tied = bool(found.get("tie_word_embeddings", True))
    model = GPT(
        found.need("vocab_size"),
        context=found.need("n_positions"),
        embed_dim=found.need("n_embd"),
        num_layers=found.need("n_layer"),
        num_heads=found.need("n_head"),
        hidden_dim=found.get("n_inner"),
        activation=found.activation("activation_function", "gelu_new"),
        dropout=found.get("resid_pdrop", 0.0),
        norm_eps=found.get("layer_norm_epsilon", 1e-5),
        tie_weights=tied,
        dtype=dtype,
    )
    fill("load_gpt2", model, path, _without_head(_GPT2, tied))
    return model.eval()


def load_bert(path: Path, *, config: Mapping[str, Any] | None = None, dtype: dtypes.DTypeLike = dtypes.float32) -> BERT:
    """Make a BERT with published weights; what was there for its first training alone (``cls``) is left out.

    Parameters
    ----------
    path, config, dtype
        As in :func:`load_gpt2`.

    Returns
    -------
    BERT
        In evaluation mode.

    Raises
    ------
    FileFormatError, OSError, ValueError
        As :func:`load_gpt2`.

    Examples
    --------
    >>> import mlext as ml
    >>> bert = ml.models.load_bert("bert-base-uncased")  # doctest: +SKIP

    References
    ----------
    Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers for language understanding".
    """
    found = Config("load_bert", path, config, "bert")
    for name, only in (("position_embedding_type", "absolute"), ("is_decoder", False)):
        found.refuse(name, only)
    model = BERT(
        found.need("vocab_size"),
        context=found.need("max_position_embeddings"),
        segments=found.need("type_vocab_size"),
        embed_dim=found.need("hidden_size"),
        num_layers=found.need("num_hidden_layers"),
        num_heads=found.need("num_attention_heads"),
        hidden_dim=found.need("intermediate_size"),
        activation=found.activation("hidden_act", "gelu"),
        dropout=found.get("hidden_dropout_prob", 0.0),
        norm_eps=found.get("layer_norm_eps", 1e-12),
        dtype=dtype,
    )
    fill("load_bert", model, path, _BERT)
    return model.eval()


def load_llama(path: Path, *, config: Mapping[str, Any] | None = None, dtype: dtypes.DTypeLike = dtypes.float32) -> GPT:
    """Make a GPT with published weights of Llama, of versions 1 to 3.

    Parameters
    ----------
    path, config, dtype
        As in :func:`load_gpt2`.

    Returns
    -------
    GPT
        In evaluation mode.

    Raises
    ------
    FileFormatError, OSError, ValueError
        As :func:`load_gpt2`.

    Examples
    --------
    >>> import mlext as ml
    >>> llama = ml.models.load_llama("Llama-3.2-1B", dtype="bfloat16")  # doctest: +SKIP

    References
    ----------
    Touvron et al. 2023, "LLaMA: open and efficient foundation language models"; Grattafiori et al. 2024, "The Llama 3
    herd of models".
    """
    found = Config("load_llama", path, config, "llama")
    found.refuse("hidden_act", "silu")
    bias = bool(found.get("attention_bias", False))
    found.refuse("mlp_bias", bias)
    turning = dict(found.get("rope_scaling") or found.get("rope_parameters", {}))
    base = turning.pop("rope_theta", found.get("rope_theta", 10000.0))
    scaled = turning.get("rope_type", turning.get("type", "default")) != "default"
    tied = bool(found.get("tie_word_embeddings", False))
    model = GPT(
        found.need("vocab_size"),
        context=found.need("max_position_embeddings"),
        embed_dim=found.need("hidden_size"),
        num_layers=found.need("num_hidden_layers"),
        num_heads=found.need("num_attention_heads"),
        num_kv_heads=found.get("num_key_value_heads"),
        head_dim=found.get("head_dim"),
        hidden_dim=found.need("intermediate_size"),
        norm="rms",
        activation="swiglu",
        position="rotary",
        dropout=found.get("attention_dropout", 0.0),
        bias=bias,
        tie_weights=tied,
        norm_eps=found.get("rms_norm_eps", 1e-6),
        rope_base=base,
        rope_scaling=turning if scaled else None,
        dtype=dtype,
    )
    fill("load_llama", model, path, _without_head(_LLAMA, tied))
    return model.eval()


def _without_head(names: Names, tied: bool) -> Names:
    """Leave the last weight out of a file if it is that of the embedding."""
    return names._replace(ignored=rf"{names.ignored}|lm_head\.weight") if tied else names
