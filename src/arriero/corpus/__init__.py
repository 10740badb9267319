"""The corpus: what goes into the model, examined and checked against evaluation sets."""
