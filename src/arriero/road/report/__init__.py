"""The run report: one self-contained HTML page about everything a run left on disk."""

from arriero.road.report.page import write_report

__all__ = ["write_report"]
