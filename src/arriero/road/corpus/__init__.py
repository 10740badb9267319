"""The corpus's pages."""
