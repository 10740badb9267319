"""Report sections of the first half of the road: tokenizer, pretraining, supervised fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping

from arriero.road.report.blocks import Block, Facts, Figure, Pieces, Samples, Section, Table
from arriero.road.report.drawing import Curve, draw_curves, smoothed
from arriero.road.report.folder import RunFolder, StageFolder, items, mappings, number, text
from arriero.road.report.samples import read_samples
from arriero.road.report.wording import MISSING, count, decimal, percent

_MAX_PIECES = 220


def tokenizer_section(run: RunFolder) -> Section | None:
    """What the tokenizer learned, and how it cuts a few texts."""
    blocks: list[Block] = []
    for stage in run.of("tokenizer"):
        results = stage.results
        facts = [
            ("pieces in the vocabulary", count(number(results.get("vocab_size")))),
            ("documents", count(number(results.get("documents")))),
            ("bytes of text", count(number(results.get("bytes")))),
            ("tokens", count(number(results.get("tokens")))),
            ("bytes a token", decimal(number(results.get("bytes_per_token")))),
            ("tokens that are bare bytes", percent(number(results.get("byte_fallback_share")), 2)),
        ]
        add_facts(blocks, facts)
        texts = [
            [text(piece) for piece in items(example.get("pieces"))][:_MAX_PIECES]
            for example in mappings(results.get("examples"))
        ]
        if texts := [pieces for pieces in texts if pieces]:
            look = (
                "Each colour is one token; ▁ is a space. Common words are one piece, rare ones "
                "several, and every digit stands alone."
            )
            blocks.append(Pieces("How texts fall into pieces", texts, look, "section 2.2"))
    if not blocks:
        return None
    lead = "Byte-pair encoding over raw text, digits split, unknown characters as bytes."
    return Section("tokenizer", "Tokenizer", lead, blocks)


def pretraining_section(run: RunFolder) -> Section | None:
    """The loss of Figure 5, with validation, and what the base model writes."""
    blocks: list[Block] = []
    for stage in run.of("pretrain"):
        results = stage.results
        facts = [
            ("parameters", count(number(results.get("parameters")))),
            ("tokens seen", count(number(results.get("tokens")))),
            ("training loss", decimal(number(results.get("train_loss")))),
            ("validation loss", decimal(number(results.get("valid_loss")))),
            ("validation perplexity", decimal(number(results.get("perplexity")))),
        ]
        add_facts(blocks, facts)
        if rows := [_source_row(source) for source in mappings(results.get("sources"))]:
            look = (
                "Small sources with large weights are read several times, each time in a new order."
            )
            head = ["source", "share asked for", "share read", "tokens read", "epochs", "loss"]
            blocks.append(
                Table(
                    title="Sources of the corpus",
                    head=head,
                    rows=rows,
                    look=look,
                    paper="section 2.1",
                )
            )
        add_figure(
            blocks,
            loss_figure(
                stage,
                "Pretraining loss",
                "The loss falls fast, then ever more slowly; the validation points should lie on "
                "the curve. A widening gap between them would be over-fitting.",
                "Figure 5",
            ),
        )
        add_figure(blocks, rate_figure(stage))
        add_samples(
            blocks,
            stage,
            "What the base model writes",
            "Given a beginning, it goes on in the manner of its corpus; it doesn't answer yet.",
        )
    lead = "The next token, over all of the corpus: where the model gets its language and facts."
    return Section("pretraining", "Pretraining", lead, blocks) if blocks else None


def _source_row(source: Mapping[str, object]) -> list[str]:
    """What was asked of a source of the corpus, and what was read."""
    return [
        text(source.get("name")),
        percent(number(source.get("target_share")), 2),
        percent(number(source.get("share")), 2),
        count(number(source.get("tokens"))),
        decimal(number(source.get("epochs"))),
        decimal(number(source.get("valid_loss"))),
    ]


def sft_section(run: RunFolder) -> Section | None:
    """Loss and samples of supervised fine-tuning."""
    blocks: list[Block] = []
    stages = run.of("sft")
    for stage in stages:
        results = stage.results
        of_version = f" ({stage.label})" if len(stages) > 1 else ""
        facts = [
            ("dialogues", count(number(results.get("dialogs")))),
            ("answer tokens", count(number(results.get("answer_tokens")))),
            ("training loss", decimal(number(results.get("train_loss")))),
            ("validation loss", decimal(number(results.get("valid_loss")))),
        ]
        add_facts(blocks, facts)
        add_figure(
            blocks,
            loss_figure(
                stage,
                f"Fine-tuning loss{of_version}",
                "Only answer tokens count. The drop at the start is the model learning to speak "
                "in turns; what follows is learning to answer well.",
                "section 3.1",
            ),
        )
        add_samples(
            blocks,
            stage,
            f"Answers after fine-tuning{of_version}",
            "It holds a dialogue now. It is neither always right nor always safe: that is what "
            "the following stages are for.",
        )
    lead = "Demonstrations teach the form of a dialogue; loss on the answers only."
    return Section("sft", "Supervised fine-tuning", lead, blocks) if blocks else None


def other_sections(run: RunFolder, known: frozenset[str]) -> list[Section]:
    """Loss and samples of stages that have no section of their own."""
    sections: list[Section] = []
    for stage in run.stages:
        if stage.kind in known:
            continue
        blocks: list[Block] = []
        add_figure(blocks, loss_figure(stage, f"Loss of {stage.label}", "Lower is better.", ""))
        add_samples(blocks, stage, "Samples", "What the stage produced.")
        if blocks:
            title = stage.label.capitalize()
            sections.append(Section(f"stage-{stage.number}", title, "", blocks))
    return sections


def loss_figure(
    stage: StageFolder, title: str, look: str, paper: str, *, unit: str = "token"
) -> Figure | None:
    """Training loss, raw and smoothed, and validation loss over steps; None without a loss."""
    steps, losses = stage.series("step", "loss")
    valid_steps, valid_losses = stage.series("step", "valid_loss")
    if not losses and not valid_losses:
        return None
    curves = [
        Curve(steps, losses, role="blue", is_faint=True),
        Curve(steps, smoothed(losses), "training", "blue"),
        Curve(valid_steps, valid_losses, "validation", "amber", has_markers=True),
    ]
    ends = f" Training loss: {losses[0]:.2f} at first, {losses[-1]:.2f} at last." if losses else ""
    return Figure(
        title=title,
        svg=draw_curves([curve for curve in curves if curve.x], x="step", y=f"loss a {unit}"),
        look=look + ends,
        paper=paper,
    )


def rate_figure(stage: StageFolder) -> Figure | None:
    """The learning rate over steps: warm-up, then a cosine."""
    steps, rates = stage.series("step", "lr")
    if len(rates) < 2:
        return None
    # As shares of the peak: the axis needs no powers of ten, the peak stands in the caption.
    peak = max(rates) or 1.0
    fall = f"then half a cosine down to {percent(rates[-1] / peak, 0)} of it."
    if rates[-1] == peak:
        fall = "where this run ended: it is no longer than the warm-up."
    return Figure(
        title="Learning rate",
        svg=draw_curves(
            [Curve(steps, [rate / peak for rate in rates], role="purple")],
            x="step",
            y="share of the peak",
            is_percent=True,
        ),
        look=f"A short climb to {peak:.2g}, {fall}",
        paper="section 2.2",
    )


def add_facts(blocks: list[Block], facts: list[tuple[str, str]]) -> None:
    """Append the facts that are there."""
    if known := [(name, value) for name, value in facts if value != MISSING]:
        blocks.append(Facts(known))


def add_figure(blocks: list[Block], figure: Figure | None) -> None:
    """Append the figure if there was something to draw."""
    if figure is not None:
        blocks.append(figure)


def add_samples(blocks: list[Block], stage: StageFolder, title: str, look: str) -> None:
    """Append the stage's samples, if it kept some."""
    if samples := read_samples(stage.results.get("samples")):
        blocks.append(Samples(title=title, samples=samples, look=look))
