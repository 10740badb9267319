"""Investigations of a built corpus (section 4.1): counted in one pass, as integers that add up."""
