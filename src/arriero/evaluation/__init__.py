"""What is measured on answers: shares, win rates, paths, agreement with an oracle."""
