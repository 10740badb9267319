"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685): W x + (alpha / rank) B A x, W frozen.

Not in the Llama 2 paper. Several models may stand on the same frozen weights: each has adapters of
its own, and nothing has to be switched on or off. Departures from Hu et al.: all seven matrices of
a block are adapted and not two, the standard deviation of A (which they leave open) is
fan_in^-1/2, and there is no dropout, for PPO needs the same answer twice.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.records import UserError

_Model = TypeVar("_Model", LanguageModel, ScoreModel)

Layer = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
"""The matrices of a block that can be adapted."""


class LoraConfig(BaseModel):
    """Adapters in place of full fine-tuning; off unless a rank is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(
        default=0, ge=0, description="rank of the adapters, such as 16; 0 trains all weights"
    )
    alpha: float = Field(
        default=32.0, gt=0, description="what the adapters add is multiplied by alpha / rank"
    )
    layers: tuple[Layer, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="matrices of a block that get adapters; Hu et al.: q_proj and v_proj",
    )

    def check_rank(self, shape: ModelConfig, key: str = "lora") -> None:
        """Refuse a rank that saves nothing.

        Args:
            shape: of the model that gets the adapters.
            key: where these keys stand in a recipe.

        Raises:
            UserError: the rank is no lower than that of one of the matrices.
        """
        inner = {
            **dict.fromkeys(("q_proj", "o_proj"), shape.query_dim),
            **dict.fromkeys(("k_proj", "v_proj"), shape.kv_dim),
            **dict.fromkeys(("gate_proj", "up_proj", "down_proj"), shape.ffn_dim),
        }
        for name in self.layers:
            most = min(shape.dim, inner[name])
            if self.rank >= most:
                raise UserError(
                    f"{key}.rank {self.rank} is no lower than the rank of {name}, {most}; lower "
                    f"it, or leave {name} out of {key}.layers"
                )


class LoraLinear(nn.Module):
    """A frozen linear layer beside a product of two narrow ones, which starts at zero.

    Attributes:
        weight, bias: those of the layer it stands for, under their old names and not copied.
        lora_a: [rank, inputs] float32, drawn from N(0, 1 / inputs).
        lora_b: [outputs, rank] float32, zeros.
        scale: alpha / rank.
    """

    def __init__(
        self, linear: nn.Linear, rank: int, alpha: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias = cast(nn.Parameter | None, linear.bias)
        # float32 whatever the type of the frozen weights: small steps must not be rounded away.
        outputs, inputs = linear.weight.shape
        device = linear.weight.device
        self.lora_a = nn.Parameter(adapter_start("lora_a", (rank, inputs), generator).to(device))
        self.lora_b = nn.Parameter(adapter_start("lora_b", (outputs, rank), generator).to(device))
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, -2)
        y = F.linear(flat, self.weight, self.bias)
        # The scale goes to the narrow side, where there is least of it to multiply.
        narrow = self.scale * F.linear(flat, self.lora_a.to(x.dtype))
        # In place: no second output of this size, and no pass over it to add the two.
        y.addmm_(narrow.to(y.dtype), self.lora_b.T.to(y.dtype))
        return y.view(*x.shape[:-1], y.shape[-1])


def adapter_start(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """What an adapter's parameter starts from, float32 on the CPU.

    Args:
        name: ends with lora_a or lora_b.
        shape: of lora_a [rank, inputs], of lora_b [outputs, rank].
        generator: lora_a is drawn from it, in the order of the network.
    """
    if name.endswith("lora_b"):
        return torch.zeros(shape)
    return torch.empty(shape).normal_(0.0, shape[1] ** -0.5, generator=generator)


def with_adapters(model: _Model, config: LoraConfig, seed: int) -> _Model:
    """A model on the weights of `model`, with adapters of its own to train.

    The weights are shared and from now on frozen, in `model` too; only a score head is copied, and
    is trained whole. Until it is trained the new model computes what `model` does.

    Args:
        model: where it lives is where the adapters will; move it before.
        config: its rank is at least 1.
        seed: what the adapters are drawn from.

    Raises:
        UserError: the rank is no lower than that of a matrix.

    Worked example: 7B with rank 16: 32 layers * 16 * (4 * (4,096 + 4,096) + 3 * (4,096 + 11,008))
    = 39,976,960 trained parameters, 0.6% of all.
    """
    config.check_rank(model.config)
    # A copy of the modules, with the very same parameters in them.
    kept: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    adapted = copy.deepcopy(model, kept).requires_grad_(False)
    if isinstance(adapted, ScoreModel):
        adapted.score.weight = nn.Parameter(adapted.score.weight.detach().clone())
    generator = torch.Generator().manual_seed(seed)
    for path, layer in _modules(adapted):
        parent, _, name = path.rpartition(".")
        if isinstance(layer, nn.Linear) and name in config.layers:
            new = LoraLinear(layer, config.rank, config.alpha, generator)
            setattr(adapted.get_submodule(parent), name, new)
    return adapted


def merged(model: _Model) -> _Model:
    """The model without adapters that computes the same: they are added into the weights.

    What has no adapter is shared with `model`, which is left as it is; a model without any is
    given back itself.
    """
    if not any(isinstance(module, LoraLinear) for module in model.modules()):
        return model
    with torch.device("meta"):
        plain = type(model)(model.config)
    plain.load_state_dict(merged_state(model, model.state_dict()), assign=True)
    if isinstance(plain, LanguageModel):
        plain.tie()
    return plain.train(model.training)


@torch.no_grad()
def merged_state(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the model without adapters.

    Args:
        model: says where the adapters are.
        tensors: its state dict, whole.

    Returns:
        W + (alpha / rank) B A in place of every adapted W, of W's type; the rest as it is.
    """
    plain = {name: tensor for name, tensor in tensors.items() if ".lora_" not in name}
    for path, module in _modules(model):
        if isinstance(module, LoraLinear):
            weight = tensors[f"{path}.weight"]
            change = tensors[f"{path}.lora_b"] @ tensors[f"{path}.lora_a"]
            total = weight.float() + module.scale * change
            plain[f"{path}.weight"] = total.to(weight.dtype)
    return plain


def trained_part(model: nn.Module) -> nn.Module:
    """The trainable parameters alone, or the model if all of it learns.

    They are the model's own, so that loading into the part fills the model.
    """
    parameters = dict(model.named_parameters())
    if all(parameter.requires_grad for parameter in parameters.values()):
        return model
    return nn.ParameterDict(
        # A dot would divide modules.
        {name.replace(".", "/"): p for name, p in parameters.items() if p.requires_grad}
    )


def count_trained(model: nn.Module) -> str:
    """How many parameters are trained, of how many; for a line of progress."""
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    trained = sum(count for count, learns in counts if learns)
    return f"{trained:,} of {sum(count for count, _ in counts):,} parameters are trained"


def _modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every module with its path, in the order of the network; torch leaves the type open."""
    return list(cast(Any, model).named_modules())
