"""Streams of what people have: rows, pages, prose; what is no document is named and passed over."""
