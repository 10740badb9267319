"""What a run goes on from: the weights and what the optimizers remember of them, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Modules = Mapping[str, nn.Module]
Optimizers = Mapping[str, torch.optim.Optimizer]


def tensors_of(modules: Modules, optimizers: Optimizers) -> dict[str, Tensor]:
    """Weights and moments by name, sharing their memory."""
    return _weights(modules) | _moments(modules, optimizers)


def tensors_for(names: Sequence[str], modules: Modules) -> dict[str, Tensor]:
    """Where tensors of these names go: weights in place, new room for moments.

    A name that no parameter of the modules stands behind is left out; a weight that is not among
    the names is there all the same.
    """
    weights = _weights(modules)
    room = {key: found for key in names if (found := _room_for(key, weights)) is not None}
    return weights | room


def give_moments(modules: Modules, optimizers: Optimizers, tensors: Mapping[str, Tensor]) -> None:
    """Let the optimizers remember what `tensors_of` had of them."""
    by_name = {name: parameter for parameter, name in _parameter_names(modules).items()}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            name, _, rest = key.removeprefix("optimizer/").partition("/")
            place, _, field = rest.rpartition("/")
            optimizers[name].state[by_name[place]][field] = value


def _weights(modules: Modules) -> dict[str, Tensor]:
    return {
        f"module/{name}/{key}": parameter.detach()
        for name, module in modules.items()
        for key, parameter in module.named_parameters()
    }


def _parameter_names(modules: Modules) -> dict[Tensor, str]:
    return {
        parameter: f"{name}/{key}"
        for name, module in modules.items()
        for key, parameter in module.named_parameters()
    }


def _moments(modules: Modules, optimizers: Optimizers) -> dict[str, Tensor]:
    """What the optimizers remember of each parameter, by the parameter's name."""
    names = _parameter_names(modules)
    return {
        f"optimizer/{name}/{names[parameter]}/{field}": value
        for name, optimizer in optimizers.items()
        for parameter, fields in optimizer.state.items()
        for field, value in fields.items()
    }


def _room_for(key: str, weights: Mapping[str, Tensor]) -> Tensor | None:
    """Zeros where a tensor of an optimizer goes; None if the parameter is not there."""
    if not key.startswith("optimizer/"):
        return None
    place, _, field = key.removeprefix("optimizer/").partition("/")[2].rpartition("/")
    parameter = weights.get(f"module/{place}")
    if parameter is None or field != "step":
        return None if parameter is None else torch.zeros_like(parameter)
    return torch.zeros((), device=parameter.device)
