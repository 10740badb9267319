"""GGUF, the one-file format of llama.cpp and Ollama: shape, tokenizer and weights.

Rows of queries and keys are in pairs there, as in Meta's layout. Norms and biases stay float32,
whatever the type of the file. Frequencies that Llama 3.1 stretches stand in a tensor of their own:
what each is divided by.
"""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from arriero.conversion.gguf_vocabulary import GgufVocabulary, gguf_vocabulary
from arriero.conversion.source import Source
from arriero.model.config import ModelConfig
from arriero.model.rotary import rotary_frequencies
from arriero.model.weights.lazy import memory_of
from arriero.model.weights.meta_layout import to_pairs, turned_heads
from arriero.model.weights.shapes import EMBEDDING, OUTPUT
from arriero.records import UserError

if TYPE_CHECKING:
    import gguf

GgufType = Literal["f32", "f16", "bf16", "q8_0"]

_OUTSIDE = {
    EMBEDDING: "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    OUTPUT: "output.weight",
}
_IN_BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_attention_layernorm": "ffn_norm",
}
_TYPES: dict[torch.dtype, GgufType] = {
    torch.float32: "f32",
    torch.float16: "f16",
    torch.bfloat16: "bf16",
}
_Q8_BLOCK = 32
"""Numbers that share a scale in q8_0; a row that they do not divide is kept as float16."""


def import_gguf() -> Any:
    """The package that knows the format; raises UserError where it is not installed."""
    try:
        import gguf
    except ImportError:
        raise UserError("GGUF needs a package: pip install 'arriero[gguf]'") from None
    return gguf


def gguf_name(name: str) -> str:
    """llama.cpp's name of a weight from ours."""
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    _, _, layer, inner = name.split(".", 3)
    part, kind = inner.rsplit(".", 1)
    return f"blk.{layer}.{_IN_BLOCK[part]}.{kind}"


def write_gguf(source: Source, path: Path, kind: GgufType | None = None) -> None:
    """Write a language model and its tokenizer as one file, a tensor at a time.

    Args:
        source: the model.
        path: of the file.
        kind: type of the matrices; the one nearest to the source's if None.

    Raises:
        UserError: the package is missing; a reward model; a tokenizer that llama.cpp cannot have.
    """
    library = import_gguf()
    if source.checkpoint.head != "language":
        raise UserError("GGUF is for language models; this is a reward model")
    vocabulary = gguf_vocabulary(source)
    kind = kind or _TYPES[source.checkpoint.dtype]
    with closing(library.GGUFWriter(path, "llama")) as writer:
        _add_shape(writer, library, source, kind)
        _add_vocabulary(writer, vocabulary, source)
        _write_tensors(writer, library, source, kind)


def _write_tensors(writer: gguf.GGUFWriter, library: Any, source: Source, kind: GgufType) -> None:
    """Announce all tensors, then write each."""
    config, tensors = source.checkpoint.config, source.checkpoint.tensors
    factors = _frequency_factors(config)
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
    for name, lazy in tensors.items():
        stored = _quantization(library, lazy.shape, kind)
        block, size = library.GGML_QUANT_SIZES[stored]
        num_bytes = math.prod(lazy.shape) // block * size
        writer.add_tensor_info(
            gguf_name(name), lazy.shape, np.dtype(np.float32), num_bytes, raw_dtype=stored
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        writer.write_tensor_data(factors)
    for name, lazy in tensors.items():
        tensor = lazy.read()
        num_heads = turned_heads(name, config)
        if num_heads is not None:
            tensor = to_pairs(tensor, num_heads)
        writer.write_tensor_data(_encoded(library, name, tensor, kind))


def _add_shape(writer: gguf.GGUFWriter, library: Any, source: Source, kind: GgufType) -> None:
    config = source.checkpoint.config
    file_types = library.LlamaFileType
    writer.add_name(source.folder.resolve().name)
    writer.add_file_type(
        {
            "f32": file_types.ALL_F32,
            "f16": file_types.MOSTLY_F16,
            "bf16": file_types.MOSTLY_BF16,
            "q8_0": file_types.MOSTLY_Q8_0,
        }[kind]
    )
    if kind == "q8_0":
        writer.add_quantization_version(library.GGML_QUANT_VERSION)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.dim)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.ffn_dim)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if config.rope_scaling == "linear":
        writer.add_rope_scaling_type(library.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_factor)


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: GgufVocabulary, source: Source) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    if vocabulary.pre is not None:
        writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    special = source.special
    if special.bos is not None:
        writer.add_bos_token_id(special.bos)
    writer.add_eos_token_id(special.ends[0])
    if len(special.ends) > 1:
        writer.add_eot_token_id(special.ends[1])
    writer.add_pad_token_id(special.pad)
    if vocabulary.unknown is not None:
        writer.add_unk_token_id(vocabulary.unknown)
    writer.add_add_bos_token(vocabulary.adds_bos and special.bos is not None)
    writer.add_add_eos_token(False)
    if vocabulary.model == "llama":
        writer.add_add_space_prefix(vocabulary.adds_space)
    if vocabulary.chat_template is not None:
        writer.add_chat_template(vocabulary.chat_template)


def _frequency_factors(config: ModelConfig) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    """By what llama.cpp shall divide each frequency, float32 [head_dim / 2]."""
    if config.rope_scaling != "llama3":
        return None
    plain = config.model_copy(update={"rope_scaling": "none"})
    return (rotary_frequencies(plain) / rotary_frequencies(config)).numpy()


def _quantization(library: Any, shape: tuple[int, ...], kind: GgufType) -> Any:
    """The type that a tensor is stored in."""
    types = library.GGMLQuantizationType
    if len(shape) == 1 or kind == "f32":
        return types.F32
    if kind == "q8_0" and shape[-1] % _Q8_BLOCK == 0:
        return types.Q8_0
    return types.BF16 if kind == "bf16" else types.F16


def _encoded(library: Any, name: str, tensor: Tensor, kind: GgufType) -> Any:
    """A tensor's bytes in the type that it is stored in."""
    types = library.GGMLQuantizationType
    qtype = _quantization(library, tuple(tensor.shape), kind)
    if qtype == types.Q8_0:
        return library.quants.quantize(tensor.float().numpy(), qtype)
    dtype = {types.F32: torch.float32, types.F16: torch.float16, types.BF16: torch.bfloat16}[qtype]
    if dtype == torch.float16 and float(tensor.abs().max()) > torch.finfo(torch.float16).max:
        raise UserError(f"{name} has numbers beyond float16; take --dtype bfloat16 or float32")
    return np.frombuffer(memory_of(tensor.to(dtype).contiguous()), dtype=np.uint8)
