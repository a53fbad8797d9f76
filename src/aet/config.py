"""All settings of a run, with their defaults; checked by pydantic, read from YAML or keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from aet.errors import ConfigError, nearest


class Section(BaseModel):
    """Unknown names are errors, and settings do not change under way."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def checked(cls, where: str, given: Mapping[str, Any]) -> Self:
        """The settings `given` under the name `where`; raises ConfigError with the mend.

        >>> ModelConfig.checked("model", {"dims": 8})
        Traceback (most recent call last):
        aet.errors.ConfigError: The setting model.dims is unknown. Did you mean 'dim'? Known: ...
        """
        if not isinstance(given, Mapping):
            raise ConfigError(
                f"{where or 'Settings'} must be names and values, got {type(given).__name__} {given!r:.60}. "
                "Write them as a mapping."
            )
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            raise ConfigError(explain(cls, error, where)) from error


def members(given: Any) -> Any:
    """How many members a wide path has: a whole number, 0 for no path, or "auto"."""
    if given == "auto" or (isinstance(given, int) and not isinstance(given, bool) and given >= 0):
        return given
    raise PydanticCustomError("members", "Input should be a whole number, 0 or more, or 'auto'")


def choice(given: Any) -> Any:
    """True, False, or "auto"."""
    if given == "auto" or isinstance(given, bool):
        return given
    raise PydanticCustomError("choice", "Input should be true, false or 'auto'")


def size(least: int) -> Callable[[Any], Any]:
    """A whole number of at least `least`, or "auto"."""

    def checked(given: Any) -> Any:
        if given == "auto" or (isinstance(given, int) and not isinstance(given, bool) and given >= least):
            return given
        raise PydanticCustomError(
            "size", "Input should be a whole number, {least} or more, or 'auto'", {"least": least}
        )

    return checked


Choice = Annotated[bool | Literal["auto"], PlainValidator(choice)]
Width = Annotated[int | Literal["auto"], PlainValidator(size(1))]
Depth = Annotated[int | Literal["auto"], PlainValidator(size(0))]
WideMembers = Annotated[int | Literal["auto"], PlainValidator(members)]


class ModelConfig(Section):
    """The trunk."""

    dim: Width = Field(
        "auto", description="Channels of a token; auto: 64, but those of a pretrained network that is the only input."
    )
    depth: Depth = Field(
        "auto",
        description="Blocks; auto: 3, but 0 behind a pretrained network that is the only input. With 0 the tokens are "
        "pooled as they come, at first by their mean.",
    )
    heads: PositiveInt = Field(4, description="Attention heads; they divide dim.")
    expansion: PositiveFloat = Field(2.0, description="Hidden width of a block's MLP over dim.")
    dropout: float = Field(0.1, ge=0, lt=1)
    norm: Literal["layer", "rms", "batch"] = Field("layer", description="Kind of the trunk's norms.")
    first_norm: Choice = Field(
        "auto",
        description="Whether the first block norms its tokens before it attends; auto: not where every input is a "
        "single number or category column and members is 1.",
    )
    wide: WideMembers = Field(
        "auto",
        description="Members of the wide path beside the trunk, 0 for none; auto: 8 where every input is a single "
        "number or category column and members is 1, else none.",
    )
    members: PositiveInt = Field(1, description="Members of a batch ensemble; each passes through the trunk.")
    attention: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Mechanisms of attention that are on, by name, with their settings."
    )
    adapter: int = Field(0, ge=0, description="Hidden width of the adapters in every block; 0 builds none.")
    prefix: int = Field(0, ge=0, description="Learned keys and values that every block attends to; 0 builds none.")


class ColumnsConfig(Section):
    """Which columns the model looks at."""

    keep: PositiveInt | None = Field(None, description="Numbers and categories kept, the best by `filter`; None: all.")
    filter: str = Field("mutual_info", description="mutual_info, f_test or chi2.")
    gate: float = Field(
        0.0, ge=0, description="What an open input costs in the loss: a gate closes those worth less; 0: no gate."
    )


def rate(given: Any) -> Any:
    """A learning rate: a number above 0, "auto", or None."""
    if given is None or given == "auto":
        return given
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < float("inf"):
        raise PydanticCustomError("rate", "Input should be greater than 0, or 'auto', or null for the optimiser's own")
    return float(given)


Rate = Annotated[float | Literal["auto"] | None, PlainValidator(rate)]


def named(given: Any) -> Any:
    """One name, several, or names with their settings, as names with their settings.

    >>> named("mlflow"), named(["mlflow", "wandb"]), named({"mlflow": {"experiment": "gas"}})
    ({'mlflow': {}}, {'mlflow': {}, 'wandb': {}}, {'mlflow': {'experiment': 'gas'}})
    """
    if isinstance(given, str):
        return {given: {}}
    return {name: {} for name in given} if isinstance(given, list | tuple) else given


class TrainConfig(Section):
    """The loop."""

    epochs: PositiveInt = 60
    batch_size: PositiveInt = 64
    optimizer: str = Field("adamw", description="adamw, sgd, schedulefree, prodigy, or a name of pytorch-optimizer.")
    optimizer_settings: dict[str, Any] = Field(default_factory=dict, description="Settings of the optimiser's own.")
    lr: Rate = Field(
        None, description="None: the optimiser's own, 0.001 for adamw. auto: found by a sweep before training."
    )
    weight_decay: float = Field(0.05, ge=0, description="Pull of the matrices towards 0.")
    schedule: str = Field(
        "auto",
        description="Course of the learning rate after the warm-up; auto: cosine, but constant where the optimiser "
        "averages by itself or the switch plateau is on.",
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps over which the learning rate rises.")
    clip: PositiveFloat = Field(1.0, description="Largest norm of the gradient.")
    patience: PositiveInt = Field(20, description="Epochs without a better validation loss before stopping.")
    monitor: Literal["auto", "loss", "metric", "agreement"] = Field(
        "auto",
        description="Validation figure that chooses the best epoch; agreement: mean of the metric and, for classes, "
        "of the probability given to the label; auto: loss, unless a switch asks for another.",
    )
    valid: float = Field(0.2, gt=0, lt=1, description="Share of the rows, or groups, or latest times, held out.")
    drift: float = Field(1.0, ge=0, description="Strength of the simulated drift in training; 0 turns it off.")
    rehearsals: NonNegativeInt = Field(
        96,
        description="Worlds in which adaptation is rehearsed after the training: 0 for none, else 20 or more.",
    )
    accumulate: PositiveInt = Field(1, description="Batches whose gradients make one step.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 on CUDA cards that have it, else float32."
    )
    compile: bool = Field(False, description="torch.compile: pays on long runs, costs up to a minute at the start.")
    switches: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Adaptive parts of training that are on, by name, with their settings."
    )
    keep_rows: int = Field(
        0, ge=0, description="Rows kept in the run folder for `model.update`, a random sample of all; 0 keeps none."
    )
    keep_fisher: bool = Field(
        False, description="Keep how much each weight matters (the switch ewc), for updates where no rows are kept."
    )
    device: str = Field("auto", description="auto: CUDA if there is any, else the CPU.")
    track: Annotated[dict[str, dict[str, Any]], BeforeValidator(named)] = Field(
        default_factory=dict, description="Trackers that get the figures too: a name, several, or names with settings."
    )


class GraphConfig(Section):
    """What is known of names beforehand: a graph of inputs and of values of categories."""

    edges: list[tuple[str, str, str, float]] = Field(
        description="(head, relation, tail, weight); a path, a frame or a networkx graph is read into them."
    )
    bias: Literal["low_rank", "dense", "none"] = Field(
        "low_rank",
        description="Bias of attention between tokens: low_rank stays on the fused kernel, dense is exact at any size.",
    )
    neighbours: bool = Field(True, description="Whether a value's neighbours inform its embedding.")
    shuffled: bool = Field(False, description="Nodes permuted among those of a kind: what a wrong graph is worth.")


class RuleConfig(Section):
    """A prior on attention: tokens that hold one name should look at those that hold another."""

    source: str = Field(alias="from", description="Name of the tokens that look.")
    target: str = Field(alias="to", description="Name of the tokens that they look at.")
    weight: PositiveFloat = Field(1.0, description="How fast the strength is learned.")
    start: float = Field(0.0, allow_inf_nan=False, description="What is added to the score at the start, in each head.")


class Config(Section):
    """A whole run.

    >>> Config.read({"train": {"epochs": 5}}).train.epochs
    5
    >>> Config.read({"train": {"epoch": 5}})
    Traceback (most recent call last):
    aet.errors.ConfigError: The setting train.epoch is unknown. Did you mean 'epochs'? Known: ...
    """

    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    columns: ColumnsConfig = ColumnsConfig()
    inputs: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Settings by input kind.")
    output: dict[str, Any] = Field(default_factory=dict, description="Settings of the output kind.")
    data: dict[str, Any] = Field(default_factory=dict, description="Arguments of aet.train: groups, kinds, id, ...")
    graph: GraphConfig | None = Field(None, description="A path, a list of edges, a networkx graph, or a mapping.")
    rules: list[dict[str, Any]] = Field(
        default_factory=list, description="Priors on attention: from, to, weight, start."
    )
    seed: int = 0

    def deciding(self) -> dict[str, Any]:
        """The settings that decide what is learned: all but where its figures are sent."""
        return self.model_dump(exclude={"train": {"track"}})

    @classmethod
    def read(cls, given: Config | Mapping[str, Any] | str | Path | None, **changes: Any) -> Config:
        """Settings from a YAML file or a mapping, with changes on top; raises ConfigError with the mend."""
        if isinstance(given, Config):
            given = given.model_dump()
        elif isinstance(given, str | Path):
            given = read_yaml(Path(given))
        whole = cls.checked("", {} if given is None else with_knowledge(given))
        return whole if not changes else cls.checked("", {**whole.model_dump(), **changes})


def with_knowledge(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings with `graph` and `rules` written out: a graph may be given as a path, a list, or an object.

    >>> with_knowledge({"rules": [{"from": "age", "to": "dose"}]})["rules"]
    [{'from': 'age', 'to': 'dose', 'weight': 1.0, 'start': 0.0}]
    """
    if not isinstance(given, Mapping) or (given.get("graph") is None and not given.get("rules")):
        return given
    from aet.graph.edges import read_edges

    read = dict(given)
    if read.get("graph") is not None:
        graph = read["graph"].model_dump() if isinstance(read["graph"], GraphConfig) else read["graph"]
        graph = dict(graph) if isinstance(graph, Mapping) else {"edges": graph}
        if "edges" in graph:
            graph["edges"] = read_edges(graph["edges"])
        read["graph"] = GraphConfig.checked("graph", graph).model_dump()
    rules = read.get("rules") or []
    if isinstance(rules, str | Mapping) or not isinstance(rules, Sequence):
        raise ConfigError(f"rules takes a list, as in rules: [{{from: age, to: dose}}]; got {rules!r:.60}.")
    checked = [RuleConfig.checked(f"rules[{number}]", rule) for number, rule in enumerate(rules)]
    return {**read, "rules": [rule.model_dump(by_alias=True) for rule in checked]}


def checked_settings(what: str, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`defaults` with `given` on top; raises ConfigError for an unknown name or a value of another sort.

    Whole numbers are 1 or more, other numbers finite and 0 or more; True or False, and texts, are of their own kind;
    a mapping gives each of its names a number of 0 or more.

    >>> checked_settings("switch 'ema'", {"decay": 0.99}, {"decay": 0.9})
    {'decay': 0.9}
    >>> checked_settings("switch 'ema'", {"decay": 0.99}, {"decai": 0.9})
    Traceback (most recent call last):
    aet.errors.ConfigError: The switch 'ema' has no setting 'decai'. Did you mean 'decay'? Known: 'decay'.
    """
    for name, value in given.items():
        if name not in defaults:
            raise ConfigError(f"The {what} has no setting {name!r}. {nearest(name, defaults)}")
        default = defaults[name]
        if isinstance(default, bool):
            fits, expected = isinstance(value, bool), "true or false"
        elif isinstance(default, str):
            fits, expected = isinstance(value, str), "a text"
        elif isinstance(default, Mapping):
            fits, expected = are_named_numbers(value), "a mapping of names to finite numbers of at least 0"
        else:
            count = isinstance(default, int)
            expected = "a whole number of at least 1" if count else "a finite number of at least 0"
            fits = isinstance(value, int if count else int | float) and not isinstance(value, bool)
            fits = fits and (1 if count else 0) <= value < float("inf")
        if not fits:
            raise ConfigError(f"The setting {name} of the {what} is {expected}; got {value!r}.")
    return {**defaults, **given}


def are_named_numbers(value: Any) -> bool:
    """Whether `value` maps names to finite numbers of at least 0."""
    return isinstance(value, Mapping) and all(
        isinstance(name, str)
        and isinstance(number, int | float)
        and not isinstance(number, bool)
        and 0 <= number < float("inf")
        for name, number in value.items()
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The settings file {path} cannot be read: {error.strerror}. Check its path.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"The settings file {path} is no YAML: {error}. Compare it with the README.") from error
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"The settings file {path} must hold names and values, got {type(content).__name__}.")
    return content or {}


def explain(root: type[BaseModel], error: ValidationError, prefix: str = "") -> str:
    """One sentence a mistake; `prefix` is the section that `root` stands for."""
    sentences = []
    for mistake in error.errors():
        *sections, name = (str(part) for part in mistake["loc"])
        where = ".".join((*([prefix] if prefix else []), *sections, name))
        if mistake["type"] == "extra_forbidden":
            model = root
            for section in sections:
                annotation = model.model_fields[section].annotation
                assert isinstance(annotation, type)
                model = annotation
            known = [part.alias or own for own, part in model.model_fields.items()]
            sentences.append(f"The setting {where} is unknown. {nearest(name, known)}")
        else:
            sentences.append(f"The setting {where}={mistake['input']!r} is not valid: {mistake['msg']}.")
    return " ".join(sentences)
