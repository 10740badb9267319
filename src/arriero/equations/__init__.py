"""Every formula of the paper as a pure function on tensors or numbers: no modules, I/O, config."""
