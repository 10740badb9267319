"""The verb `plan`."""

from __future__ import annotations

import argparse

from arriero.cli.keys import add_run_keys, overrides_of
from arriero.cli.verbs import Verbs
from arriero.records import UserError

# The recipe's own key of this name says where a run takes place; here an option does.
_OWN = ("device",)


def add_verbs(verbs: Verbs) -> None:
    """Add it."""
    plan = verbs.add("plan", "memory, time, energy and carbon of a recipe on any device", _plan)
    plan.add_argument("recipe", metavar="RECIPE", help="a name (see `arriero recipes`) or a file")
    plan.add_argument(
        "--devices", type=int, metavar="N", help="default: the fewest that its stages fit on"
    )
    plan.add_argument(
        "--device",
        dest="device_name",
        metavar="NAME",
        help="such as a100-80gb, h100, h200 or cpu; default: the paper's for its own sizes, else "
        "this machine's CPU",
    )
    plan.add_argument(
        "--tensor", type=int, metavar="N", help="tensor-parallel ranks; default: the recipe's"
    )
    plan.add_argument(
        "--utilisation", type=float, metavar="X", help="share of the peak, such as 0.4"
    )
    if verbs.asked == "plan":
        add_run_keys(plan, without=_OWN)


def _plan(options: argparse.Namespace) -> None:
    from arriero.road.plan import make_plan, misfit_line, render_plan
    from arriero.road.recipe import load_recipe

    overrides = overrides_of(options)
    plan = make_plan(
        load_recipe(options.recipe, overrides),
        devices=options.devices,
        device=options.device_name,
        tensor=options.tensor,
        utilisation=options.utilisation,
        watts_given="watts" in overrides,
    )
    print(render_plan(plan))
    if plan.refused:
        raise UserError(misfit_line(plan))
