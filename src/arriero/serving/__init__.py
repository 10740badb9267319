"""Talking to a model: the chat in the terminal, the API and the page of `arriero serve`."""
