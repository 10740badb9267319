"""From a recipe to a run: the stages in order, what is done already, the report."""
