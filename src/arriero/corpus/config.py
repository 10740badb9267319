"""A corpus's recipe: sources, rules with their thresholds, de-duplication, weights, executor.

The paper names none of these figures (section 2.1): the rules' thresholds are those of Gopher
(Rae et al. 2021, A.1.1) and C4 (Raffel et al. 2020, 2.2), MinHash's are datatrove's.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

_TAKEN = ("units", "errors", "manifest.json", "plan.json")

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Format = Literal["auto", "jsonl", "parquet", "warc", "text", "markdown", "html"]

IDENTIFIERS = ("email", "phone", "card", "ip", "address")
# English, as Gopher's; a corpus of other languages names its own.
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")


def _many(value: object) -> object:
    """One value where a list is wanted."""
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_many)]


class _Keys(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceConfig(_Keys):
    """Files that are weighted, counted and licensed as one."""

    paths: Texts = Field(min_length=1, description="files, folders or patterns such as dump/*.gz")
    format: Format = Field(default="auto", description="auto tells it by the file's name")
    license: str = Field(default="", description="goes along with every document")
    weight: Weight | None = Field(
        default=None, description="share of what is sampled; none for all sources: as they are"
    )
    text: Texts = Field(
        default=("text", "content"), min_length=1, description="fields of a row, the first it has"
    )
    join: bool = Field(default=False, description="all of the text fields, a blank line between")
    url: str = Field(default="url", description="field of a row that says where it is from")
    max_characters: int = Field(
        default=20_000, ge=0, description="piece of a text or markdown file; 0 takes it whole"
    )
    excluded_sites: Texts = Field(default=(), description="for this source only")
    rules: dict[str, float | int | tuple[str, ...]] = Field(
        default_factory=dict, description="thresholds that are others for this source"
    )


class NormaliseConfig(_Keys):
    """How text is made uniform before it is judged."""

    unicode: Literal["NFC", "NFKC", ""] = Field(default="NFC", description="form; '' leaves it")
    whitespace: bool = Field(default=True, description="runs of spaces, ends of lines, blank lines")
    control: bool = Field(default=True, description="drop control characters, null bytes too")
    extract: Literal["auto", "plain", "trafilatura"] = Field(
        default="plain", description="HTML to text: plain needs no package, auto the better one"
    )


class RulesConfig(_Keys):
    """Thresholds of the quality rules.

    0 turns a `min` off, and a `max` of words, of their length and of symbols; 1 any other `max`.
    """

    min_words: int = Field(default=50, ge=0, description="words of a document (Gopher)")
    max_words: int = Field(default=100_000, ge=0, description="words of a document (Gopher)")
    min_mean_word_length: float = Field(default=3, ge=0, description="characters (Gopher)")
    max_mean_word_length: float = Field(default=10, ge=0, description="characters (Gopher)")
    max_symbol_share: float = Field(default=0.1, ge=0, description="# or ... a word (Gopher)")
    max_bullet_lines: Share = Field(default=0.9, description="lines that begin so (Gopher)")
    max_ellipsis_lines: Share = Field(default=0.3, description="lines that end so (Gopher)")
    min_alphabetic_words: Share = Field(default=0.8, description="words with a letter (Gopher)")
    min_stop_words: int = Field(default=2, ge=0, description="different ones (Gopher)")
    stop_words: Texts = Field(default=STOP_WORDS, description="in small letters")
    max_repeated_lines: Share = Field(default=0.3, description="lines seen before (Gopher)")
    max_repeated_paragraphs: Share = Field(default=0.3, description="seen before (Gopher)")
    max_top_2gram: Share = Field(default=0.2, description="characters in the commonest (Gopher)")
    max_top_3gram: Share = Field(default=0.18, description="characters in the commonest (Gopher)")
    max_top_4gram: Share = Field(default=0.16, description="characters in the commonest (Gopher)")
    max_repeated_5grams: Share = Field(default=0.15, description="characters in them (Gopher)")
    max_repeated_10grams: Share = Field(default=0.10, description="characters in them (Gopher)")
    min_sentences: int = Field(default=0, ge=0, description="ends of sentences (C4: 3)")
    phrases: Texts = Field(
        default=("lorem ipsum",), description="a document with one is removed (C4); small letters"
    )

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> RulesConfig:
        for name in ("words", "mean_word_length"):
            least, most = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if most and least > most:
                raise ValueError(f"min_{name} {least} is above max_{name} {most}")
        return self


class IdentifiersConfig(_Keys):
    """Personal identifiers: measured in any case."""

    mask: Texts = Field(default=(), description=f"which to mask: {', '.join(IDENTIFIERS)}, or all")

    @field_validator("mask")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(value) - {*IDENTIFIERS, "all"}:
            raise ValueError(f"{min(unknown)!r} is none of {', '.join(IDENTIFIERS)}, all")
        return IDENTIFIERS if "all" in value else value


class DuplicatesConfig(_Keys):
    """De-duplication across sources: which copy stays follows from the recipe's order, then id."""

    exact: bool = Field(default=True, description="the same but for case and white space")
    near: bool = Field(default=True, description="MinHash, each candidate verified exactly")
    threshold: float = Field(
        default=0.8, gt=0, le=1, description="least Jaccard similarity of shingles to be removed"
    )
    ngram: int = Field(default=5, ge=1, le=64, description="words of a shingle")
    bands: int = Field(default=14, ge=1, le=256, description="keys of a document (datatrove)")
    rows: int = Field(default=8, ge=1, le=64, description="hashes of a key (datatrove)")


class TokenizerConfig(_Keys):
    """What makes tokens of the corpus."""

    model: str = Field(
        default="train", description="a tokenizer's folder or file, `train`, or '' for no tokens"
    )
    vocab_size: int = Field(default=32_000, gt=258, description="where it is trained (2.2)")
    max_megabytes: float = Field(default=1000.0, gt=0, description="text that it is trained on")


class SlurmConfig(_Keys):
    """What sbatch is told."""

    partition: str = Field(default="", description="the cluster's partition")
    time: str = Field(default="24:00:00", description="limit of a task")
    memory_gb: int = Field(default=4, gt=0, description="a task's")
    environment: str = Field(default="", description="command that makes Python ready")
    poll_seconds: float = Field(default=10.0, gt=0, description="between looks at the queue")


class ExecutorConfig(_Keys):
    """Where the work is done. What comes out does not depend on it."""

    kind: Literal["local", "ray", "slurm"] = Field(default="local", description="datatrove's")
    tasks: int = Field(default=0, ge=0, description="pieces of a stage; 0: as many as workers")
    workers: int = Field(default=1, ge=1, description="tasks at once")
    nodes: int = Field(default=1, ge=1, description="machines that share the folder (local)")
    node: int = Field(default=0, ge=0, description="which of them this is, from 0")
    node_timeout: float = Field(default=86_400.0, gt=0, description="s to wait for the others")
    ray_address: str = Field(default="", description="of a cluster; '' starts one here")
    slurm: SlurmConfig = Field(default_factory=SlurmConfig)

    @model_validator(mode="after")
    def _fits(self) -> ExecutorConfig:
        if self.node >= self.nodes:
            raise ValueError(f"node {self.node} of {self.nodes}: they count from 0")
        if self.nodes > 1 and self.kind != "local":
            raise ValueError(f"nodes are for the local executor; {self.kind} finds its own")
        if self.kind == "slurm" and not self.slurm.partition:
            raise ValueError("slurm.partition is missing; name one of the cluster")
        return self

    @property
    def num_tasks(self) -> int:
        """Tasks of a stage with as many units or more."""
        return max(self.tasks or self.workers * self.nodes, self.nodes)


class WorldDumps(_Keys):
    """The embedded world's dumps, where the recipe wants them drawn."""

    documents: int = Field(default=0, ge=0, description="how many; 0 draws none")
    seed: int = Field(default=0, ge=0, lt=2**32, description="which valley")


class CorpusRecipe(_Keys):
    """A whole corpus. Unknown keys are refused."""

    name: str = Field(default="corpus", description="what it is called in its report")
    seed: int = Field(default=0, ge=0, lt=2**32, description="chooses the tokenizer's sample")
    strict: bool = Field(default=False, description="the first bad file or row ends the build")
    excluded_sites: Texts = Field(default=(), description="domains; their subdomains too")
    excluded_site_files: Texts = Field(default=(), description="files with a domain a line")
    max_line_megabytes: float = Field(
        default=16.0, gt=0, description="longer rows, records and files are passed over"
    )
    unit_megabytes: float = Field(
        default=64.0, gt=0, description="small files are worked on together up to this size"
    )
    target_tokens: int = Field(
        default=0, ge=0, description="tokens to sample; 0: as many as there are"
    )
    max_epochs: float = Field(
        default=0.0, ge=0, description="most readings of a source; 0: as often as weights ask"
    )
    weights: dict[str, Weight] = Field(
        default_factory=dict, description="NAME=NUMBER, before what stands at the source"
    )
    world: WorldDumps = Field(default_factory=WorldDumps)
    normalise: NormaliseConfig = Field(default_factory=NormaliseConfig)
    rules: RulesConfig = Field(default_factory=RulesConfig)
    identifiers: IdentifiersConfig = Field(default_factory=IdentifiersConfig)
    duplicates: DuplicatesConfig = Field(default_factory=DuplicatesConfig)
    tokenizer: TokenizerConfig = Field(default_factory=TokenizerConfig)
    executor: ExecutorConfig = Field(default_factory=ExecutorConfig)
    sources: dict[str, SourceConfig] = Field(
        default_factory=dict, description="by name; of two copies that of the first one stays"
    )

    @field_validator("sources")
    @classmethod
    def _names_are_names_of_folders(cls, value: dict[str, SourceConfig]) -> dict[str, SourceConfig]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
                raise ValueError(f"{name!r} is no name of a source; use letters, digits, - _ .")
            if name in _TAKEN:
                raise ValueError(f"{name!r} is a folder of every stage; call the source otherwise")
        if len({name.casefold() for name in value}) < len(value):
            raise ValueError("two names of sources differ by their capitals only")
        return value

    @model_validator(mode="after")
    def _rules_of_sources_fit(self) -> CorpusRecipe:
        for name, source in self.sources.items():
            if unknown := source.rules.keys() - RulesConfig.model_fields.keys():
                raise ValueError(f"sources.{name}.rules: unknown key {min(unknown)}")
            self.rules_of(name)
        return self

    def rules_of(self, name: str) -> RulesConfig:
        """The rules with what is another for a source."""
        return RulesConfig.model_validate(self.rules.model_dump() | self.sources[name].rules)

    def weight_of(self, name: str) -> float | None:
        """A source's weight, wherever it stands."""
        return self.weights.get(name, self.sources[name].weight)
