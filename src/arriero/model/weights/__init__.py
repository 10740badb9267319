"""Weights in and out: Hugging Face's layout and Meta's, one tensor at a time, no code executed."""

from arriero.model.weights.hugging_face import (
    Checkpoint,
    is_score_model,
    load_language_model,
    load_score_model,
    open_hugging_face,
    save_language_model,
    save_score_model,
    shape_of,
    write_hugging_face,
)
from arriero.model.weights.meta import is_meta, open_meta, write_meta
from arriero.model.weights.tensor_files import weights_identity

__all__ = [
    "Checkpoint",
    "is_meta",
    "is_score_model",
    "load_language_model",
    "load_score_model",
    "open_hugging_face",
    "open_meta",
    "save_language_model",
    "save_score_model",
    "shape_of",
    "weights_identity",
    "write_hugging_face",
    "write_meta",
]
