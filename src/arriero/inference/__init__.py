"""Prefill, decode, sample: the one sampler that training, evaluation and serving share."""
