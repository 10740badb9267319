"""Which tokens of evaluation sets occur in the corpus (A.6): suffix arrays, matches, figures."""
