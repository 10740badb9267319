"""Any sequence classifier in Hugging Face's layout as a scorer, by way of transformers.

For reward models of other shapes than Llama's. No code of the folder is run: a model that needs its
own is refused. Each dialog goes through the model alone, so that no score depends on padding, on
the pad id, or on what else was asked.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from arriero.evaluation.scorers import TOO_LONG
from arriero.records import Dialog, UserError


@dataclass(frozen=True)
class ClassifierScorer:
    """A classifier with one label, whose logit is the score, or with two: second minus first.

    A folder with a chat template gets the dialog through it. One without gets the prompt's text
    and the answer as a pair of texts, as classifiers over pairs are trained.
    """

    name: str
    model: Any
    tokenizer: Any
    context: int | None
    skipped: Counter[str] = field(default_factory=Counter[str])
    kind: str = "classifier"
    is_logit: bool = True

    @classmethod
    def load(cls, name: str, folder: Path, device: torch.device) -> ClassifierScorer:
        """The classifier of a local folder.

        Raises:
            UserError: transformers is not installed, or the folder is no classifier with one or
                two labels that runs without code of its own.
        """
        model, tokenizer = open_classifier(folder)
        if model.config.num_labels not in (1, 2):
            raise UserError(f"{folder}: {model.config.num_labels} labels; a scorer has one or two")
        context = getattr(model.config, "max_position_embeddings", None)
        return cls(name, model.to(device).eval(), tokenizer, context)

    def score(self, dialogs: Sequence[Dialog]) -> list[float | None]:
        return [self._score(dialog) for dialog in dialogs]

    @torch.no_grad()
    def _score(self, dialog: Dialog) -> float | None:
        inputs = self._encode(dialog)
        if self.context is not None and inputs["input_ids"].shape[1] > self.context:
            self.skipped[TOO_LONG] += 1
            return None
        logits = self.model(**inputs.to(self.model.device)).logits[0].float()
        return float(logits[0] if len(logits) == 1 else logits[1] - logits[0])

    def _encode(self, dialog: Dialog) -> Any:
        if self.tokenizer.chat_template is None:
            prompt = "\n\n".join(message.content for message in dialog.prompt)
            return self.tokenizer(prompt, dialog.answer, return_tensors="pt")
        turns = [{"role": turn.role, "content": turn.content} for turn in dialog.messages]
        try:
            return self.tokenizer.apply_chat_template(
                turns, tokenize=True, return_dict=True, return_tensors="pt"
            )
        except Exception as error:  # a folder's template may raise whatever it likes
            raise UserError(f"{self.name}: its chat template refuses a dialog ({error})") from None


def open_classifier(folder: Path) -> tuple[Any, Any]:
    """The model and the tokenizer of a local folder, by way of transformers.

    Raises:
        UserError: transformers is not installed, or the folder is no sequence classifier that runs
            without code of its own.
    """
    try:
        # By name: the base must not depend on what an extra brings.
        transformers: Any = importlib.import_module("transformers")
    except ImportError:
        raise UserError(
            f"{folder}: this needs more packages: pip install 'arriero[evaluation]'"
        ) from None
    # Its bars and warnings would stand between our lines; what matters is refused or counted.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        loader = transformers.AutoModelForSequenceClassification
        # Safetensors alone: a pickle could run code.
        model, report = loader.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, **options
        )
    except ImportError as error:
        raise UserError(f"{folder}: a package is not installed ({_line(error)})") from None
    except Exception as error:  # damaged files make the libraries raise whatever they like
        raise UserError(f"{folder}: no sequence classifier ({_line(error)})") from None
    if missing := sorted(report["missing_keys"]):
        raise UserError(f"{folder}: no weights of {missing[0]}; it was not trained to score")
    return model, tokenizer


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
