"""Folders of the versions: their order, their numbers, and what is left out."""

from __future__ import annotations

import pytest

from arriero.road.names import VersionsConfig, station_names


def test_one_version_has_the_folders_that_every_run_had() -> None:
    assert station_names(VersionsConfig()).in_order() == [
        "00-inputs",
        "01-tokenizer",
        "02-pretrain",
        "03-sft",
        "04-preferences-v1",
        "05-reward-helpfulness-v1",
        "06-reward-safety-v1",
        "07-rejection-v1",
        "08-ppo-v1",
        "09-evaluate",
    ]


def test_the_versions_of_the_paper() -> None:
    """Two of SFT, five of RLHF; Ghost Attention from V4, PPO in V5, watched by a general model."""
    names = station_names(VersionsConfig(sft=2, rlhf=5), has_ghost=True, has_general=True)
    assert names.in_order()[3:] == [
        "03-sft-v1",
        "04-sft-v2",
        *(f"{5 + n:02d}-{stage}-v1" for n, stage in enumerate(_PLAIN)),
        *(f"{9 + n:02d}-{stage}-v2" for n, stage in enumerate(_PLAIN)),
        *(f"{13 + n:02d}-{stage}-v3" for n, stage in enumerate(_PLAIN)),
        *(f"{17 + n:02d}-{stage}-v4" for n, stage in enumerate(_GHOST)),
        *(f"{22 + n:02d}-{stage}-v5" for n, stage in enumerate(_GHOST)),
        "27-reward-general",
        "28-ppo-v5",
        "29-evaluate",
    ]
    assert names.policies(before=3) == [
        "03-sft-v1",
        "04-sft-v2",
        "08-rejection-v1",
        "12-rejection-v2",
    ]
    assert names.policies()[-2:] == ["26-rejection-v5", "28-ppo-v5"]


_PLAIN = ("preferences", "reward-helpfulness", "reward-safety", "rejection")
_GHOST = ("preferences", "reward-helpfulness", "reward-safety", "ghost", "rejection")


def test_own_comparisons_come_once() -> None:
    names = station_names(VersionsConfig(rlhf=2), collects=False)
    assert names.in_order()[4:] == [
        "04-preferences-v1",
        "05-reward-helpfulness-v1",
        "06-reward-safety-v1",
        "07-rejection-v1",
        "08-rejection-v2",
        "09-ppo-v2",
        "10-evaluate",
    ]


@pytest.mark.parametrize(("first", "expected"), [(0, [3]), (1, [1, 2, 3]), (2, [2, 3])])
def test_the_versions_that_ppo_follows(first: int, expected: list[int]) -> None:
    names = station_names(VersionsConfig(rlhf=3, ppo_from=first))
    assert [one.number for one in names.versions if one.ppo] == expected
