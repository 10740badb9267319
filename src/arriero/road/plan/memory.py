"""Bytes on one device, part by part, from the shape of a model alone.

Weights, gradients and AdamW's two moments are float32 and lie in shares on all ranks; the matrices
of a block come together in the type they multiply in while it is computed, those of the next one
already beside it. Embedding and output matrix are together for the whole step. What a block keeps
for its backward pass is counted tensor by tensor, as PyTorch's eager mode keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Literal

from arriero.model.config import ModelConfig
from arriero.road.plan.layout import Layout

Precision = Literal["float32", "bfloat16"]

FLOAT = 4
_BYTES: dict[Precision, int] = {"float32": 4, "bfloat16": 2}
# The loss makes logits for so many tokens at a time.
LOSS_CHUNK = 4096
# Short-lived tensors leave holes between those that are kept, and a CPU's allocator gives nothing
# back (training.pages): so much of everything else, more where shares come together and go (fitted
# to benchmarks/plan_memory.py).
_HOLES_ALONE, _HOLES_DIVIDED = 0.35, 0.6


@dataclass(frozen=True, slots=True)
class Parts:
    """Bytes on one device at one moment."""

    weights: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    cache: float = 0.0
    holes: float = 0.0

    @property
    def total(self) -> float:
        """All parts together."""
        return sum(astuple(self))

    def __add__(self, other: Parts) -> Parts:
        return Parts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def peak(moments: Iterable[Parts]) -> Parts:
    """The moment that needs most."""
    return max(moments, key=lambda parts: parts.total)


def own_parameters(model: ModelConfig, layout: Layout, *, head: bool) -> float:
    """Parameters in a rank's shares.

    Matrices of blocks are divided over all ranks; norms, embedding and head (the output matrix, or
    nothing for a model that gives scores) over the data-parallel ranks alone.
    """
    everything = model.num_parameters if head else model.num_backbone_parameters
    norms = 2 * model.dim
    matrices = model.num_layers * (model.num_block_parameters - norms)
    return matrices / layout.devices + (everything - matrices) / layout.data


def together(model: ModelConfig, layout: Layout, precision: Precision, *, head: bool) -> float:
    """Bytes of the matrices that a rank holds whole, or whole but for tensor parallelism.

    On one device in bfloat16 every matrix is kept twice: autocast holds a narrow copy until the
    backward pass has used it.
    """
    size = _BYTES[precision]
    block = model.num_block_parameters
    if not layout.is_divided:
        return 0.0 if precision == "float32" else size * model.num_layers * block
    ends = model.num_parameters if head else model.num_backbone_parameters
    ends -= model.num_layers * block
    return size * (2 * block / layout.tensor + ends)


def kept_by_block(
    model: ModelConfig, layout: Layout, precision: Precision, row_length: int
) -> float:
    """Bytes a token that one block keeps from its forward to its backward pass.

    Two norms keep their input and what they pass on; attention keeps queries, keys, values, its
    mask and its result before and after heads are put together; the SwiGLU four hidden vectors. On
    a CPU the kernels of model.fused keep less: no mask, one result, three hidden vectors.
    """
    size = _BYTES[precision]
    is_autocast = not layout.is_divided and precision == "bfloat16"
    # The residual stream is float32 under autocast, and in FSDP's type otherwise. On a CPU a norm
    # of bfloat16 is several operations, which keep its input in float32 and once more, divided by
    # its root mean square.
    stream = FLOAT if is_autocast else size
    norm = stream if layout.is_gpu or stream == FLOAT else 2 * FLOAT
    # Under autocast every product makes a narrow copy of its own of what the norm passes on.
    copies = 5 if is_autocast else 2
    queries = model.query_dim / layout.tensor
    keys = model.kv_dim / layout.tensor
    heads = model.num_heads / layout.tensor
    hidden = model.ffn_dim / layout.tensor
    norms = 2 * (norm * model.dim + FLOAT) + copies * size * model.dim
    if layout.is_gpu or precision == "bfloat16":
        attention = size * (3 * queries + 2 * keys + row_length) + FLOAT * heads
    else:
        attention = size * (2 * queries + 2 * keys) + FLOAT * heads
    return norms + attention + (4 if layout.is_gpu else 3) * size * hidden


def activations(
    model: ModelConfig, layout: Layout, precision: Precision, num_tokens: int, row_length: int
) -> float:
    """Bytes that a forward pass over `num_tokens` keeps for its backward pass.

    With recomputation a block keeps its input alone, and one block's are there as a whole.
    """
    block = kept_by_block(model, layout, precision, row_length)
    is_autocast = not layout.is_divided and precision == "bfloat16"
    stream = FLOAT if is_autocast else _BYTES[precision]
    if layout.recompute:
        blocks = model.num_layers * stream * model.dim + block
    else:
        blocks = model.num_layers * block
    # The final norm, of which a kernel keeps its input and a scale, ids and where documents begin,
    # the angles of the rotary embedding.
    final = 2 * model.dim if layout.is_gpu or stream != FLOAT else model.dim + 1
    rest = FLOAT * final + 2 * 8 + FLOAT * model.head_dim
    return num_tokens * (blocks + rest)


def loss_logits(model: ModelConfig, layout: Layout, precision: Precision, num_tokens: int) -> float:
    """Bytes of the language loss at its widest.

    A chunk of float32 logits and their exponentials, on a CPU of logits that turn into their slopes
    where they are; the output matrix's gradient in float32 with the product that is added to it,
    which float32 adds at once; hidden states and their gradient.
    """
    size = _BYTES[precision]
    logits = 2 * FLOAT if layout.is_gpu else size
    chunk = logits * min(LOSS_CHUNK, num_tokens) * model.vocab_size
    product = 0 if precision == "float32" else size
    matrix = (FLOAT + product) * model.vocab_size * model.dim
    return chunk + matrix + 2 * size * num_tokens * model.dim


def answer_logits(model: ModelConfig, num_answer_tokens: int) -> float:
    """Bytes of PPO's log-probabilities at their widest.

    Float32 logits of all answer tokens, which become their own slopes; the output matrix's
    gradient; hidden states and theirs.
    """
    logits = num_answer_tokens * model.vocab_size
    states = (model.vocab_size + 2 * num_answer_tokens) * model.dim
    return float(FLOAT * (logits + states))


def sampler_cache(model: ModelConfig, layout: Layout, num_rows: int, num_slots: int) -> float:
    """Bytes of keys and values, float32 as the weights are."""
    return 2.0 * FLOAT * model.num_layers * model.kv_dim / layout.tensor * num_rows * num_slots


def training_step(
    model: ModelConfig,
    layout: Layout,
    precision: Precision,
    *,
    trained: float,
    num_tokens: int,
    row_length: int,
    accumulates: bool,
    head: bool = True,
    logits: float | None = None,
) -> Parts:
    """The larger of two moments: when the loss is there, and when the last gradient is.

    Args:
        trained: parameters in this rank's share that have gradients and moments.
        num_tokens: what goes through the model at once.
        accumulates: whether gradients of an earlier micro-batch are there already.
        head: whether there is an output matrix.
        logits: bytes of the loss; those of the language loss if left out.
    """
    weights = FLOAT * own_parameters(model, layout, head=head)
    weights += together(model, layout, precision, head=head)
    if logits is None:
        logits = loss_logits(model, layout, precision, num_tokens) if head else 0.0
    gradients = FLOAT * trained
    kept = activations(model, layout, precision, num_tokens, row_length)
    ends = (2 if head else 1) * model.vocab_size * model.dim
    arriving = model.num_block_parameters / layout.tensor + ends if layout.is_divided else 0.0
    state = Parts(weights=weights, optimizer=2 * FLOAT * trained)
    at_loss = Parts(gradients=gradients if accumulates else 0.0, activations=kept, logits=logits)
    # The gradients of a block, and of embedding and output matrix, before they are added up over
    # the ranks: in the type of the products, and in float32 on their way.
    at_end = Parts(gradients=gradients + arriving * (_BYTES[precision] + FLOAT))
    at_end += Parts(activations=num_tokens * kept_by_block(model, layout, precision, row_length))
    parts = state + peak((at_loss, at_end))
    if layout.is_gpu:
        return parts
    holes = _HOLES_DIVIDED if layout.is_divided else _HOLES_ALONE
    return parts + Parts(holes=holes * parts.total)
