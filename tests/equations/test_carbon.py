from __future__ import annotations

import math

import pytest

from arriero.equations.carbon import GRID_INTENSITY, co2_tonnes, energy_kwh

TABLE_2 = [
    (184_320, 400, 31.22),
    (368_640, 400, 62.44),
    (1_038_336, 350, 153.90),
    (1_720_320, 400, 291.42),
]


@pytest.mark.parametrize(("hours", "watts", "tonnes"), TABLE_2)
def test_rows_of_table_2(hours: int, watts: int, tonnes: float) -> None:
    # The table cuts after two decimals.
    assert math.floor(co2_tonnes(hours, watts) * 100) / 100 == tonnes


def test_sum_of_table_2() -> None:
    assert sum(hours for hours, _, _ in TABLE_2) == 3_311_616
    total = sum(co2_tonnes(hours, watts) for hours, watts, _ in TABLE_2)
    assert total == pytest.approx(539.00, abs=0.005)


def test_energy() -> None:
    assert energy_kwh(184_320, 400) == 73_728
    assert energy_kwh(0.5, 65) == pytest.approx(0.0325)
    # Second by second: 1,800 s at 65 W in joules, 3.6 MJ to the kWh.
    assert energy_kwh(0.5, 65) == pytest.approx(sum(65 for _ in range(1800)) / 3.6e6)


def test_carbon_is_proportional_to_each_factor() -> None:
    base = co2_tonnes(1000, 300)
    assert GRID_INTENSITY == 0.4235
    assert base == pytest.approx(0.12705)
    assert co2_tonnes(2000, 300) == pytest.approx(2 * base)
    assert co2_tonnes(1000, 600) == pytest.approx(2 * base)
    assert co2_tonnes(1000, 300, intensity=0.847) == pytest.approx(2 * base)
    assert co2_tonnes(1000, 300, intensity=0) == 0
