"""Numbers in words: sensible digits, units that fit the size, intervals."""

from __future__ import annotations

from collections.abc import Sequence

MISSING = "–"  # an en dash: the cell of a value that is not there


def percent(value: float | None, digits: int = 1) -> str:
    """0.8634 -> `86.3%`."""
    if value is None:
        return MISSING
    return f"{100 * value:.{digits}f}%".replace("-", "−")


def interval(low: float | None, high: float | None, digits: int = 1) -> str:
    """0.841, 0.883 -> `84.1–88.3%`; empty unless both are there."""
    if low is None or high is None:
        return ""
    return f"{100 * low:.{digits}f}–{100 * high:.{digits}f}%"


def count(value: float | None) -> str:
    """1234 -> `1,234`; 1234567 -> `1.23 M`."""
    if value is None:
        return MISSING
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f}"


def decimal(value: float | None, digits: int = 3) -> str:
    """About `digits` significant digits: 0.012345 -> `0.0123`; 1234.5 -> `1,234`."""
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        shown = f"{value:,.0f}"
    elif abs(value) < 1e-4:
        return scientific(value)
    else:
        shown = f"{value:.{digits}g}"
    return shown.replace("-", "−")


def scientific(value: float) -> str:
    """2.6e-6 -> `2.6 × 10⁻⁶`."""
    mantissa, exponent = f"{value:.1e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} × 10{raised}".replace("-", "−")


def duration(seconds: float | None) -> str:
    """0.4 -> `0.4 s`; 75 -> `1 min 15 s`; 7300 -> `2 h 2 min`."""
    if seconds is None:
        return MISSING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def energy(watt_hours: float | None) -> str:
    """6.24 -> `6.24 Wh`; 15000 -> `15 kWh`."""
    return _scaled(
        watt_hours, ((1e9, "GWh"), (1e6, "MWh"), (1e3, "kWh"), (1.0, "Wh"), (1e-3, "mWh"))
    )


def carbon(grams: float | None) -> str:
    """2.6 -> `2.6 g`; 31220000 -> `31.2 t`."""
    return _scaled(grams, ((1e6, "t"), (1e3, "kg"), (1.0, "g"), (1e-3, "mg")))


def _scaled(value: float | None, units: Sequence[tuple[float, str]]) -> str:
    if value is None:
        return MISSING
    for size, unit in units:
        if abs(value) >= size:
            return f"{decimal(value / size)} {unit}"
    return f"{decimal(value / units[-1][0])} {units[-1][1]}" if value else f"0 {units[-1][1]}"


def plain(name: str) -> str:
    """`significantly_better` -> `significantly better`."""
    return name.replace("_", " ")
