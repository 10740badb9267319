"""One loop, its optimizer, checkpoints and meters; it never learns what is being trained."""
