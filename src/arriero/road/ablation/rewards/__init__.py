"""Studies of reward training: margins, the safety loss, data and size, one model against two."""
