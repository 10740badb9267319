"""`arriero watch`: a run in the terminal while another process writes it."""

from arriero.road.watch.live import watch

__all__ = ["watch"]
