"""From raw dumps to a mix that one can answer for: cleaned, de-duplicated, weighted, examined."""
