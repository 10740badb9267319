"""The stages of the recipe: the only place where data, loop and model meet."""
