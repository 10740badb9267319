"""Makes data and never optimizes: scores of answers, rollouts."""
