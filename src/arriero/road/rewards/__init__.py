"""`arriero evaluate-rewards`: any scorers on any test sets, and their report."""

from arriero.road.rewards.evaluate import evaluate_rewards

__all__ = ["evaluate_rewards"]
