"""The study of Ghost Attention: with it and without, from the same start (Table 30, Figure 10)."""
