"""The folders of a run: which of them holds which stage of which version (section 3.2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from arriero.records.prompt import Track

INPUTS = "00-inputs"
TOKENIZER = "01-tokenizer"
PRETRAIN = "02-pretrain"

TRACKS: tuple[Track, ...] = ("helpfulness", "safety")


class VersionsConfig(BaseModel):
    """How often the road is gone: SFT-v1, SFT-v2, RLHF-V1 to V5 in the paper."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sft: int = Field(
        default=1,
        ge=1,
        le=2,
        description="SFT versions; of two the first learns from first_share of the demonstrations",
    )
    first_share: float = Field(
        default=0.3, gt=0, lt=1, description="share of the demonstrations that SFT-v1 learns from"
    )
    # Of more than these the folders would need three digits, and not be in order by name.
    rlhf: int = Field(default=1, ge=1, le=15, description="RLHF versions; 5 in the paper")
    bag_from: int = Field(
        default=4,
        ge=1,
        description="first version that takes the best samples of all versions so far; 4",
    )
    ghost_from: int = Field(
        default=4, ge=1, description="first version with dialogs of Ghost Attention; 4"
    )
    ppo_from: int = Field(
        default=0,
        ge=0,
        description="first version in which PPO follows rejection sampling; 0 is the last one",
    )

    @property
    def first_with_ppo(self) -> int:
        """Number of that version."""
        return self.ppo_from or self.rlhf


@dataclass(frozen=True, slots=True)
class VersionNames:
    """The folders of one RLHF version.

    Attributes:
        preferences, rewards: what is compared in it and what learns from that, by track.
        ghost: dialogs of Ghost Attention; None in a version without.
        ppo: None in a version that ends with rejection sampling.
    """

    number: int
    preferences: str
    rewards: Mapping[Track, str]
    ghost: str | None
    rejection: str
    ppo: str | None

    @property
    def policies(self) -> tuple[str, ...]:
        """The chat models of this version, the newest last."""
        return (self.rejection, self.ppo) if self.ppo else (self.rejection,)


@dataclass(frozen=True, slots=True)
class StationNames:
    """The folders of a run after its base model.

    Attributes:
        general: a reward model of open data, which watches PPO and teaches nothing; None without.
    """

    sft: tuple[str, ...]
    versions: tuple[VersionNames, ...]
    evaluate: str
    general: str | None = None

    def in_order(self) -> list[str]:
        """All folders of a run."""
        found = [INPUTS, TOKENIZER, PRETRAIN, *self.sft]
        for version in self.versions:
            found += [version.preferences, *version.rewards.values()]
            found += [version.ghost] if version.ghost else []
            found.append(version.rejection)
            if version.ppo:
                found += [self.general] if self.general else []
                found.append(version.ppo)
        return [*dict.fromkeys(found), self.evaluate]

    def policies(self, *, before: int | None = None) -> list[str]:
        """Chat models from the oldest to the newest, of the versions before one if that is said."""
        found = [*self.sft]
        for version in self.versions:
            if before is None or version.number < before:
                found += version.policies
        return found


def station_names(
    config: VersionsConfig,
    *,
    has_ghost: bool = False,
    has_general: bool = False,
    collects: bool = True,
) -> StationNames:
    """Number the folders in the order in which they are made.

    Args:
        has_ghost: whether there is anything to make dialogs of Ghost Attention of.
        has_general: whether there are open comparisons for a reward model that watches PPO.
        collects: whether each version collects comparisons; else they come once, with the first.
    """
    number = 3

    def folder(name: str, version: int | None = None) -> str:
        nonlocal number
        number += 1
        return f"{number - 1:02d}-{name}" + (f"-v{version}" if version else "")

    is_one = config.sft == 1
    sft = tuple(folder("sft", None if is_one else k) for k in range(1, config.sft + 1))
    versions: list[VersionNames] = []
    general: str | None = None
    for k in range(1, config.rlhf + 1):
        if collects or not versions:
            preferences = folder("preferences", k)
            rewards: Mapping[Track, str] = {track: folder(f"reward-{track}", k) for track in TRACKS}
        else:
            preferences, rewards = versions[0].preferences, versions[0].rewards
        ghost = folder("ghost", k) if has_ghost and k >= config.ghost_from else None
        rejection = folder("rejection", k)
        if k == config.first_with_ppo and has_general:
            general = folder("reward-general")
        ppo = folder("ppo", k) if k >= config.first_with_ppo else None
        versions.append(VersionNames(k, preferences, rewards, ghost, rejection, ppo))
    return StationNames(sft, tuple(versions), folder("evaluate"), general)
