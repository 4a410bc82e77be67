"""Recipe: every setting of a run in one frozen value; YAML in and out, an unknown key is an error.

A field that is None (or "auto") is decided by the planner from the data and the machine; the resolved recipe, in which
nothing is left open, is kept in the run's folder.
"""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from shoebox.base.errors import UsageError

SHIPPED = Path(__file__).parent.parent / "recipes"

MONITORS = {"macro_f1": 1, "accuracy": 1, "macro_precision": 1, "macro_recall": 1, "roc_auc": 1, "loss": -1}


class Recipe(BaseModel):
    """The settings of a run. Shares are fractions of 1, picture sides are pixels, times are minutes.

    Raises:
        UsageError: from `load`, `parse` and `override`, naming the field and what it accepts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # What it is
    about: str = Field("", description="what this recipe is for, its command, the time it takes and what it reached")

    # Network
    model: str | None = Field(None, description="a network and its options, e.g. vgg(blocks=3, dropout=0.2)")
    weights: str | None = Field(None, description="a .safetensors file to start from")
    pretrained: bool = Field(False, description="fetch the published weights of a timm, torchvision or hf model")
    trainable: Literal["all", "head"] | int | None = Field(
        None, description="all, head, or how many last stages to train; open: what pays, or all from scratch"
    )
    engine: Literal["auto", "loop", "transfer"] = Field(
        "auto", description="transfer: fit the head on frozen features first, then fine-tune; auto: so with weights"
    )
    views: int | None = Field(
        None, ge=0, description="looks at each picture kept as activations; 0: frozen stages run each time"
    )
    batchnorm: Literal["train", "frozen"] = Field("train", description="frozen: keep the statistics of the weights")

    # Pictures
    size: int | None = Field(None, ge=1, le=4096, description="side of the square the network sees, in pixels")
    grow: float | None = Field(
        None, gt=0, le=1, description="share of size that training starts with; it grows to all of it on the way"
    )
    store: int | None = Field(None, ge=1, le=4096, description="side of the square kept in the pack, in pixels")
    fit: Literal["squash", "crop", "pad"] = Field("squash", description="how a picture becomes a square")
    interpolation: Literal["bicubic", "bilinear", "lanczos"] | None = Field(None, description="resizing filter")
    normalise: Literal["auto", "imagenet", "data"] = Field("auto", description="where mean and std come from")
    augment: tuple[str, ...] | None = Field(
        None, description="augmentations in order, e.g. [flip, translate(pixels=2)]"
    )

    mirror: bool = Field(
        False, description="answer by the mean over a picture and its mirror image, where augment mirrors too"
    )
    shift: bool = Field(
        False,
        description="answer by the mean over a picture and it moved by a 32nd of its side, where augment has translate",
    )

    # Data
    validation: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="share that becomes validation where there is none; 0: no part; by default a tenth, at most "
        "2,500 pictures or 50 a class",
    )
    test: float = Field(
        0.1, ge=0, lt=1, description="share that becomes test where neither validation nor test is there"
    )
    sampling: Literal["natural", "balanced"] = Field("natural", description="balanced: every class equally often")
    class_weights: Literal["none", "balanced"] = Field("none", description="weight of each class in the loss")

    # How long
    epochs: int | None = Field(None, ge=1, description="passes over the training part")
    minutes: float | None = Field(None, gt=0, description="time for everything, start to end; replaces epochs")
    accuracy: float | None = Field(None, gt=0, le=1, description="stop once validation accuracy reaches this")
    patience: int | None = Field(None, ge=1, description="stop after this many epochs without a better monitor")
    monitor: str = Field("macro_f1", description=f"what chooses the best epoch on validation: {', '.join(MONITORS)}")

    # Optimisation
    optimizer: str | None = Field(None, description="muon, adam, adamw or sgd, with options: sgd(momentum=0.9)")
    lr: float | None = Field(None, gt=0, description="peak learning rate")
    weight_decay: float | None = Field(None, ge=0, description="decoupled for adamw and muon, L2 for sgd and adam")
    schedule: str = Field("linear", description="constant, cosine, onecycle, linear, step(…) or plateau(…)")
    warmup: float = Field(0.0, ge=0, lt=1, description="share of training over which the rate rises from 0")
    batch_size: int | None = Field(None, ge=1, description="pictures a step")
    accumulate: int = Field(1, ge=1, description="steps whose gradients are added before an update")
    clip: float | None = Field(None, gt=0, description="largest norm of the gradient")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    ema: float | None = Field(None, gt=0, lt=1, description="decay of the averaged weights, if wanted")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="arithmetic of training")
    feature_precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="arithmetic of what is frozen"
    )

    # Keeping
    seed: int = Field(0, ge=0, lt=2**32, description="of every random draw")
    keep: int | Literal["all"] = Field(2, description="how many checkpoints stay besides the best, or all")
    tensorboard: bool = Field(True, description="write event files where tensorboard is installed")
    tracking: tuple[str, ...] = Field((), description="tools to report to besides: mlflow, wandb")

    @field_validator("tracking", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _agree(self) -> "Recipe":
        if self.monitor not in MONITORS:
            raise ValueError(f"monitor must be one of {', '.join(MONITORS)}, not {self.monitor!r}")
        if isinstance(self.trainable, int) and self.trainable < 1:
            raise ValueError("trainable must be all, head, or a number of stages from 1 up")
        if isinstance(self.keep, int) and self.keep < 2:
            raise ValueError("keep must be 2 or more, or all: one checkpoint alone may be the one being written")
        return self

    @classmethod
    def load(cls, name: str | Path) -> "Recipe":
        """Read a shipped recipe by name, or a YAML file."""
        path = recipe_file(name)
        try:
            settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as e:
            raise UsageError(f"{path} is not YAML: {e}") from None
        if not isinstance(settings, dict):
            raise UsageError(f"{path} must hold settings as key: value, not a {type(settings).__name__}")
        if "steps" in settings:
            raise UsageError(f"{path} is a ladder of several recipes: run it with shoebox ladder")
        return cls.parse(settings, str(path))

    @classmethod
    def parse(cls, settings: dict[str, Any], where: str = "the settings") -> "Recipe":
        """Validate plain settings; `where` names their source in the error."""
        try:
            return cls.model_validate(settings)
        except ValidationError as e:
            raise UsageError(f"{where}: {'; '.join(_explain(error) for error in e.errors())}") from None

    def override(self, settings: dict[str, Any]) -> "Recipe":
        """A copy with some fields replaced, validated again."""
        return type(self).parse({**self.model_dump(), **settings})

    def to_yaml(self) -> str:
        """The whole recipe, which `load` reads back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def recipe_file(name: str | Path) -> Path:
    """The file of a shipped recipe by its name, or the path itself.

    Raises:
        UsageError: there is neither; the message lists the shipped ones.
    """
    path, shipped = Path(name), SHIPPED / f"{name}.yaml"
    if path.suffix not in (".yaml", ".yml", ".json") and shipped.is_file():
        return shipped
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml")))
        raise UsageError(f"no recipe {str(name)!r}: give a YAML file or one of {names}")
    return path


def parse_settings(assignments: list[str]) -> dict[str, Any]:
    """Turn ["lr=0.1", "augment=[flip]"] into {"lr": 0.1, "augment": ["flip"]}, reading each value as YAML.

    Raises:
        UsageError: an assignment has no "=", or its value is not YAML.
    """
    settings = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {assignment!r}: expected key=value, for example --set lr=0.01")
        try:
            settings[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"--set {key}: the value {value!r} cannot be read") from None
    return settings


def _explain(error: Any) -> str:
    field = ".".join(str(part) for part in error["loc"][:1])
    if error["type"] == "extra_forbidden":
        return f"unknown setting {field!r}: choose from {', '.join(Recipe.model_fields)}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{field}: {message}, not {error['input']!r}" if field else message
