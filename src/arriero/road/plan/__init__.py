"""What a recipe needs and takes on devices that are not there: `arriero plan`."""

from arriero.road.plan.page import misfit_line, render_plan
from arriero.road.plan.plan import Plan, make_plan

__all__ = ["Plan", "make_plan", "misfit_line", "render_plan"]
