"""The processes of one training job: data parallel times tensor parallel on a device mesh.

Every rank runs the same program. Ranks along `dp` take turns at the micro-batches of a step; ranks
along `tp` hold parts of the same matrices and see the same data.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from pydantic import BaseModel, ConfigDict, Field
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import _get_default_store, _set_pg_timeout

from arriero.records import UserError
from arriero.training.stopping import stop_requests

Agreed = TypeVar("Agreed")

_FOR_EVER = timedelta(days=365)
_SECONDS_TO_REPORT = 2.0


class ParallelConfig(BaseModel):
    """How many processes share a model, and what they trade for memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensor: int = Field(
        default=1, gt=0, description="ranks that share each matrix; the others share its rows"
    )
    recompute: bool = Field(
        default=False, description="compute activations again in the backward pass, to save memory"
    )
    compile: bool = Field(
        default=False,
        description="compile each block (torch.compile): for GPUs, a CPU has kernels of its own",
    )
    timeout_s: float = Field(
        default=600, gt=0, description="seconds after which a rank that does not answer is lost"
    )


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of its job.

    Attributes:
        mesh: dimensions `dp` and `tp`; None where one process works alone.
        recompute: whether activations are computed again in the backward pass.
        compile: whether blocks are compiled.
        patient: all ranks, on which the others wait for the first one without a limit.
    """

    mesh: DeviceMesh | None = None
    recompute: bool = False
    compile: bool = False
    patient: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes files and speaks."""
        return self.mesh is None or dist.get_rank() == 0

    @property
    def number(self) -> int:
        """This rank's number, from 0."""
        return 0 if self.mesh is None else dist.get_rank()

    @property
    def size(self) -> int:
        """All ranks."""
        return 1 if self.mesh is None else self.mesh.size()

    @property
    def dp_rank(self) -> int:
        """Number of this rank's share of the data."""
        return 0 if self.mesh is None else self.mesh.get_local_rank("dp")

    @property
    def dp_size(self) -> int:
        """Shares of the data."""
        return 1 if self.mesh is None else self.mesh["dp"].size()

    def sums(self, values: list[float]) -> list[float]:
        """Each value added up over the shares of the data."""
        if self.mesh is None:
            return values
        whole = torch.tensor(values, dtype=torch.float64, device=self.mesh.device_type)
        dist.all_reduce(whole, group=self.mesh.get_group("dp"))
        return whole.tolist()

    def most(self, value: int) -> int:
        """The largest of the values that all ranks have."""
        if self.mesh is None:
            return value
        whole = torch.tensor(value, device=self.mesh.device_type)
        dist.all_reduce(whole, dist.ReduceOp.MAX)
        return int(whole)

    def agreed(self, value: Agreed) -> Agreed:
        """The first rank's value, on every rank; it may take its time."""
        if self.mesh is None:
            return value
        holder = [value]
        dist.broadcast_object_list(holder, src=0, group=self.patient)
        return holder[0]

    def from_all(self, value: Agreed) -> list[Agreed]:
        """The values of all ranks, in order, on each of them."""
        if self.mesh is None:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def from_shares(self, value: Agreed) -> list[Agreed]:
        """The values of all shares of the data, in order, on each rank."""
        return self.from_all(value)[:: self.size // self.dp_size]

    def barrier(self) -> None:
        """Wait until every rank is here, as long as a rank may take to answer."""
        if self.mesh is not None:
            dist.barrier()

    def wait(self) -> None:
        """Wait until every rank is here, while one of them may do long work alone."""
        if self.mesh is not None:
            dist.barrier(self.patient)


ALONE = Ranks()


def start_ranks(config: ParallelConfig, device: torch.device) -> Ranks:
    """Join the other processes that torchrun has started; alone where it has started none.

    Raises:
        UserError: the ranks cannot be divided as `config` says.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world % config.tensor:
        raise UserError(
            f"{world} ranks cannot be divided into groups of parallel.tensor = {config.tensor}; "
            "start a multiple of it, or name a divisor"
        )
    if world == 1:
        return Ranks(recompute=config.recompute, compile=config.compile)
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=config.timeout_s))
    mesh = init_device_mesh(
        device.type, (world // config.tensor, config.tensor), mesh_dim_names=("dp", "tp")
    )
    for name in ("dp", "tp"):
        # Groups smaller than the whole have the backend's limit, not ours.
        _set_pg_timeout(timedelta(seconds=config.timeout_s), mesh.get_group(name))
    # Not the default backend: on a GPU, waiting would keep it busy. The first rank alone has long
    # work of its own: where it comes to meet the others, they are there already or hang.
    own_limit = timedelta(seconds=config.timeout_s) if dist.get_rank() == 0 else _FOR_EVER
    patient = dist.new_group(backend="gloo", timeout=own_limit)
    assert isinstance(patient, dist.ProcessGroup)
    return Ranks(mesh, config.recompute, config.compile, patient)


def end_ranks(ranks: Ranks) -> None:
    """Leave the other processes."""
    if ranks.mesh is not None:
        dist.destroy_process_group()


def is_lost_rank(error: RuntimeError) -> bool:
    """Whether an error says that another rank does not answer any more."""
    # gloo has no exception of its own; NCCL's watchdog ends the process by itself.
    said = str(error)
    signs = ("closed by peer", "reset by peer", "Timed out waiting", "timed out", "Broken pipe")
    return isinstance(error, dist.DistError) or any(sign in said for sign in signs)


def missing_ranks(ranks: Ranks) -> list[int]:
    """Once this rank was let down: those that do not say within some seconds that they were too.

    They are gone, hang, or have been at work since. Empty where nobody is left to ask.
    """
    missing = list(range(ranks.size))
    deadline = time.monotonic() + _SECONDS_TO_REPORT
    # Of a rank that is gone the launcher knows too, and asks the others to stop.
    with stop_requests():
        try:
            store = _get_default_store()
            store.set(f"let down/{ranks.number}", "")
            # The others' calls fail one after another, as the first one closes its connections.
            while missing and time.monotonic() < deadline:
                time.sleep(0.1)
                missing = [n for n in missing if not store.check([f"let down/{n}"])]
        except RuntimeError:
            return []  # whoever held the store is gone itself
    return missing
