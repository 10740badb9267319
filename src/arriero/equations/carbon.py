"""Energy and carbon of a training run (section 2.2.1, Table 2)."""

from __future__ import annotations

GRID_INTENSITY = 0.4235
"""kg CO2eq per kWh; the one that Table 2 implies."""


def energy_kwh(device_hours: float, watts: float) -> float:
    """Device hours times the power of one device, in kWh: 184,320 h at 400 W = 73,728 kWh."""
    return device_hours * watts / 1000


def co2_tonnes(device_hours: float, watts: float, intensity: float = GRID_INTENSITY) -> float:
    """Carbon dioxide equivalent in metric tonnes.

    Like the paper: the power of the devices alone, without hosts, network or cooling. Table 2
    cuts its rows after two decimals; its sum is that of the uncut rows.

    Args:
        device_hours: hours over all devices.
        watts: power of one device.
        intensity: kg CO2eq per kWh.

    Worked example: 184,320 h at 400 W -> 31.22 t (the 7B model).
    """
    return energy_kwh(device_hours, watts) * intensity / 1000
