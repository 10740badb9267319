"""Models from one layout to another, tokenizer included, and what a model folder holds."""
