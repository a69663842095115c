"""What a model takes, and the inputs on which its engines are judged and timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from hpi_agent.engines.base import TensorSpec
from hpi_agent.select.answers import TaskFamily

Origin = Literal["folder", "rendered", "noise"]


@dataclass(frozen=True)
class ModelInputs:
    """What has to be known of a model to make inputs for it."""

    name: str
    """PaddleX's name of the model; the folder of the user's samples has the same name."""
    specs: tuple[TensorSpec, ...]
    """What the model file declares of its inputs."""
    inference: Mapping[str, Any]
    """The parsed `inference.yml`."""
    directory: Path
    """The model directory; named in messages."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The model's part of PaddleX's pipeline YAML, of which `limit_side_len`, `limit_type`, `max_side_limit`,
    `input_shape` and `batch_size` shape the inputs; empty for a model that is served alone."""


@dataclass(frozen=True)
class Sample:
    """One call of a model."""

    label: str
    """What it is, for people: `page 2 (receipt), 736 x 1120`."""
    feeds: Mapping[str, NDArray[Any]]
    """One array per declared input, by name."""


@dataclass(frozen=True)
class SampleSet:
    """The mix of inputs on which the engines of one model are judged and timed."""

    samples: tuple[Sample, ...]
    """At least one."""
    origin: Origin
    family: TaskFamily | None
    """The task family whose answers can be compared; None: numbers alone. On noise there is nothing to compare."""
    digest: str
    """`sha256:<hex>` of what the samples are made of; the same as `sample_identity` says without making them."""
    note: str = ""
    """Why the samples are not of an earlier origin in the order folder, rendered, noise, where there is a reason."""
