"""A recipe: every key of a run, from TOML, the command line and the paper's defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from arriero.data import toml_tables
from arriero.data.recipes import packaged_names, read_tables
from arriero.data.toml_tables import explain, near_key, set_key, toml_text
from arriero.equations.carbon import GRID_INTENSITY
from arriero.model.config import ModelConfig
from arriero.model.weights import shape_of
from arriero.records import UserError
from arriero.road.base import fetched_base, local_base
from arriero.road.names import VersionsConfig
from arriero.stages.ablation import AblationConfig
from arriero.stages.consistency import ConsistencyConfig
from arriero.stages.evaluate import EvaluateConfig
from arriero.stages.figures import FiguresConfig
from arriero.stages.ghost import GhostConfig
from arriero.stages.ppo import PpoConfig
from arriero.stages.preferences import PreferencesConfig
from arriero.stages.pretrain import PretrainConfig
from arriero.stages.rejection import RejectionConfig
from arriero.stages.reward_config import RewardConfig
from arriero.stages.reward_mix import MixConfig
from arriero.stages.sft import SftConfig
from arriero.stages.tables import as_table
from arriero.stages.tokenizer import TokenizerConfig
from arriero.stages.workspace import ParallelConfig
from arriero.world.open_sets import SOURCE as CROWD

_PACKAGE = "arriero.road"


class WorldConfig(BaseModel):
    """How much of the embedded world a run draws."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(
        default=0, ge=0, lt=2**32, description="which valley; the run's own seed is apart from it"
    )
    documents: int = Field(default=60_000, gt=0, description="documents of the corpus")
    demonstrations: int = Field(default=5_000, gt=0, description="dialogs of the SFT set")
    preference_prompts: int = Field(
        default=4_000, gt=0, description="prompts that get compared answers"
    )
    comparison_prompts: int = Field(
        default=1_000, gt=0, description="held-out prompts of a track, compared"
    )
    open_comparisons: int = Field(
        default=0,
        ge=0,
        description="comparisons a track from elsewhere, source `crowd`, for mix.open",
    )
    general_comparisons: int = Field(
        default=0,
        ge=0,
        description="comparisons a track from elsewhere that only a reward model learns from which "
        "watches PPO; 0 for none",
    )
    policy_prompts: int = Field(
        default=2_000, gt=0, description="prompts of rejection sampling and of PPO"
    )
    rhymes_until: int = Field(
        default=0,
        ge=0,
        description="last version whose own prompts ask for rhymes, which later ones may forget; "
        "0 for all",
    )
    held_out_prompts: int = Field(default=256, gt=0, description="prompts of PPO's early stop")
    test_prompts: int = Field(default=1_000, gt=0, description="prompts of each test set")
    attribute_dialogs: int = Field(
        default=0,
        ge=0,
        description="dialogs about hobbies, languages and figures to learn from, and as many "
        "prompts for Ghost Attention",
    )
    safety_share: float = Field(
        default=0.35,
        gt=0,
        lt=1,
        description="share of adversarial prompts among those to learn from",
    )
    borderline_share: float = Field(
        default=0.1, ge=0, lt=1, description="share of harmless prompts with dangerous words"
    )

    @model_validator(mode="after")
    def _shares_fit(self) -> WorldConfig:
        if self.safety_share + self.borderline_share >= 1:
            raise ValueError(
                f"safety_share {self.safety_share} and borderline_share {self.borderline_share} "
                "leave no ordinary prompts; their sum has to stay below 1"
            )
        return self


Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DataConfig(BaseModel):
    """Where the input comes from: the embedded world, or files and folders of one's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["world", "files"] = Field(
        default="world", description="the embedded world or files"
    )
    world: WorldConfig = Field(default_factory=WorldConfig)
    corpus: tuple[str, ...] = Field(
        default=(),
        description="documents to pretrain on; NAME=PATH names a source, else its file does",
    )
    weights: Annotated[dict[str, Weight], BeforeValidator(as_table)] = Field(
        default_factory=dict,
        description="share of each source, as NAME=NUMBER: small ones are read more than once; "
        "none reads the corpus as it is",
    )
    instructions: tuple[str, ...] = Field(default=(), description="demonstrations to fine-tune on")
    helpfulness: tuple[str, ...] = Field(default=(), description="comparisons by helpfulness")
    safety: tuple[str, ...] = Field(default=(), description="comparisons by safety")
    helpfulness_test: tuple[str, ...] = Field(
        default=(), description="comparisons by helpfulness held out; none takes some of the others"
    )
    safety_test: tuple[str, ...] = Field(
        default=(), description="comparisons by safety held out; none takes some of the others"
    )
    general: tuple[str, ...] = Field(
        default=(),
        description="open comparisons for a reward model that watches PPO and teaches nothing",
    )
    consistency: tuple[str, ...] = Field(
        default=(),
        description="tests whether an instruction of the first turn still holds later; none takes "
        "the world's",
    )
    max_dialogs: int = Field(default=0, ge=0, description="most demonstrations; 0 takes all")


class Recipe(BaseModel):
    """A whole run. Unknown keys are refused; the defaults are the paper's for 7B."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="run", description="what the run is called in its report")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="all randomness of the stages follows from it"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where models live")
    threads: int = Field(default=0, ge=0, description="CPU threads; 0 takes all cores")
    scale: float = Field(default=1.0, gt=0, description="multiplies every budget of the recipe")
    watts: float = Field(
        default=400.0, gt=0, description="power assumed for the energy figures, in W"
    )
    carbon_intensity: float = Field(
        default=GRID_INTENSITY, gt=0, description="kg CO2eq a kWh; 0.4235 as in Table 2"
    )
    base: str = Field(
        default="",
        description="a model folder to start from, or hf:OWNER/NAME: its tokenizer and shape "
        "replace the recipe's, and pretraining goes on from its weights (pretrain.num_tokens 0 "
        "leaves them as they are)",
    )
    versions: VersionsConfig = Field(default_factory=VersionsConfig)
    figures: FiguresConfig = Field(default_factory=FiguresConfig)
    parallel: ParallelConfig = Field(default_factory=ParallelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    tokenizer: TokenizerConfig = Field(default_factory=TokenizerConfig)
    pretrain: PretrainConfig = Field(default_factory=PretrainConfig)
    sft: SftConfig = Field(default_factory=SftConfig)
    preferences: PreferencesConfig = Field(default_factory=PreferencesConfig)
    reward: RewardConfig = Field(default_factory=RewardConfig)
    mix: MixConfig = Field(default_factory=MixConfig)
    rejection: RejectionConfig = Field(default_factory=RejectionConfig)
    ghost: GhostConfig = Field(default_factory=GhostConfig)
    consistency: ConsistencyConfig = Field(default_factory=ConsistencyConfig)
    ppo: PpoConfig = Field(default_factory=PpoConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    ablation: AblationConfig = Field(default_factory=AblationConfig)

    @model_validator(mode="after")
    def _rows_fit_the_context(self) -> Recipe:
        context = self.model.context
        for name, length in (
            ("pretrain.row_length", self.pretrain.row_length),
            ("sft.row_length", self.sft.row_length),
            ("sft.replay_length", self.sft.replay_length),
            ("rejection.sft.row_length", self.rejection.sft.row_length),
            ("rejection.sft.replay_length", self.rejection.sft.replay_length),
        ):
            if length > context:
                raise ValueError(f"{name} is {length}, the model's context {context}")
        if not self.base and not self.pretrain.num_tokens:
            raise ValueError("pretrain.num_tokens is 0: only a model that `base` names has weights")
        return self

    @model_validator(mode="after")
    def _others_samples_make_one_version(self) -> Recipe:
        if self.rejection.samples_from and self.versions.rlhf > 1:
            raise ValueError(
                "rejection.samples_from: all versions would learn the same samples; set "
                "versions.rlhf to 1"
            )
        return self

    @model_validator(mode="after")
    def _crowd_is_open(self) -> Recipe:
        draws = self.data.source == "world" and self.data.world.open_comparisons
        if draws and CROWD not in self.mix.open:
            raise ValueError(
                "data.world.open_comparisons would count as one's own; say --mix.open crowd"
            )
        if self.data.source == "world" and (others := set(self.mix.open) - {CROWD}):
            raise ValueError(f"mix.open: the world has no open source {min(others)!r}; say {CROWD}")
        return self

    @model_validator(mode="after")
    def _adapters_are_narrow(self) -> Recipe:
        for name, lora in (
            ("sft", self.sft.lora),
            ("reward", self.reward.lora),
            ("rejection.sft", self.rejection.sft.lora),
            ("ppo", self.ppo.lora),
        ):
            lora.check_rank(self.model, f"{name}.lora")
        return self


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return packaged_names(_PACKAGE)


def load_recipe(name_or_path: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe of the package by name, or a TOML file by path, with overrides by dotted key.

    Raises:
        UserError: no such recipe, a file that is not TOML, an unknown key (with the nearest known
            one) or a value that does not fit.
    """
    values = read_tables(name_or_path, _PACKAGE)
    for key, value in (overrides or {}).items():
        set_key(values, key, value)
    values.setdefault("name", Path(name_or_path).stem)
    if base := values.get("base"):
        clashing = [key for key in overrides or {} if key.startswith("model.")]
        if clashing:
            raise UserError(
                f"--{clashing[0]}: with `base` the shape is that of {base}; leave it out"
            )
        folder = local_base(str(base))
        if folder is None and "model" not in values:
            folder = fetched_base(str(base))
        # One of the hub that is not here yet has the shape that the recipe says.
        if folder is not None:
            values["model"] = shape_of(folder).model_dump()
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        unknown = unknown_key(".".join(str(part) for part in first["loc"]))
        raise UserError(explain(first, name_or_path, unknown)) from None
    return scaled(recipe)


_NO_BUDGETS = frozenset({"seed", "safety_share", "borderline_share", "rhymes_until"})


def scaled(recipe: Recipe) -> Recipe:
    """The recipe with its budgets multiplied by `scale`, which then is 1 again."""
    if recipe.scale == 1.0:
        return recipe

    def times(value: int, least: int = 1) -> int:
        return max(min(value, least), round(value * recipe.scale)) if value else 0

    rejection, ppo = recipe.rejection, recipe.ppo
    world = recipe.data.world
    return recipe.model_copy(
        update={
            "scale": 1.0,
            "data": recipe.data.model_copy(
                update={
                    "max_dialogs": times(recipe.data.max_dialogs, 200),
                    "world": world.model_copy(
                        update={
                            name: times(getattr(world, name), 50)
                            for name in WorldConfig.model_fields
                            if name not in _NO_BUDGETS
                        }
                    ),
                }
            ),
            "pretrain": recipe.pretrain.model_copy(
                update={"num_tokens": times(recipe.pretrain.num_tokens)}
            ),
            "preferences": recipe.preferences.model_copy(
                update={
                    "max_pairs": times(recipe.preferences.max_pairs, 100),
                    "max_test_pairs": times(recipe.preferences.max_test_pairs, 100),
                }
            ),
            "rejection": rejection.model_copy(
                update={
                    "max_prompts": times(rejection.max_prompts, 32),
                    "fitting_prompts": times(rejection.fitting_prompts, 8),
                }
            ),
            "ghost": recipe.ghost.model_copy(
                update={
                    "max_prompts": times(recipe.ghost.max_prompts, 16),
                    # A model of few steps says little twice.
                    "least_named": times(recipe.ghost.least_named),
                }
            ),
            "ppo": ppo.model_copy(
                update={
                    "iterations": times(ppo.iterations),
                    "held_out_prompts": times(ppo.held_out_prompts, 16),
                }
            ),
            "evaluate": recipe.evaluate.model_copy(
                update={
                    "prompts_per_set": times(recipe.evaluate.prompts_per_set, 32),
                    "judge": recipe.evaluate.judge.model_copy(
                        update={"pairs": times(recipe.evaluate.judge.pairs, 16)}
                    ),
                }
            ),
            "ablation": recipe.ablation.model_copy(
                update={
                    "num_tokens": times(recipe.ablation.num_tokens),
                    "held_out": times(recipe.ablation.held_out, 32),
                }
            ),
        }
    )


def leaf_fields(
    model: type[BaseModel] | None = None, prefix: str = ""
) -> Iterator[tuple[str, type[BaseModel], str]]:
    """Every key of a recipe as (dotted key, the model that holds it, its name there)."""
    return toml_tables.leaf_fields(model or Recipe, prefix)


def to_toml(recipe: Recipe) -> str:
    """The recipe with every key, as TOML that `load_recipe` reads back."""
    return toml_text(recipe.model_dump(mode="json"))


def unknown_key(key: str) -> str:
    """The line that an unknown key gets."""
    near = near_key(key, [name for name, _, _ in leaf_fields()])
    hint = f"; did you mean {near}?" if near else "; `arriero config tiny` lists all keys"
    return f"unknown key {key}{hint}"
