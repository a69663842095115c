"""The kind HPINodePool: a group of nodes whose runtimes and cache are kept together."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hpi_core.api.base import ApiModel, Metadata
from hpi_core.api.rules import Atomic, IntOrPercent, ListMap, ListSet, Rule
from hpi_core.api.v1alpha1.condition import Conditions, Generation
from hpi_core.api.v1alpha1.placement import LabelMap
from hpi_core.api.v1alpha1.scalars import (
    ABSOLUTE_PATH,
    CRON,
    LABEL_KEY,
    LABEL_VALUE,
    MAX_BYTES,
    TIME_ZONE,
    Count,
    ObjectName,
    Sentence,
    Timestamp,
    Word,
)

MAX_EXAMPLES: Final = 5


class Expression(ApiModel):
    """One demand on a label."""

    key: Annotated[str, Field(pattern=LABEL_KEY, max_length=317)]
    """Key of the label."""

    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """What is demanded."""

    values: Annotated[
        tuple[Annotated[str, Field(pattern=LABEL_VALUE, max_length=63)], ...],
        Field(strict=False, max_length=8),
        ListSet(),
    ] = ()
    """Values for In and NotIn."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
            "values must be set for operators In and NotIn, and only then",
            lambda self: (self.operator in ("In", "NotIn")) == bool(self.values),
        ),
    )


class NodeSelector(ApiModel):
    """Which nodes belong to the pool. Empty: every node."""

    match_labels: LabelMap = Field(default_factory=dict)
    """Labels that a node must have."""

    match_expressions: Annotated[tuple[Expression, ...], Field(strict=False, max_length=4), Atomic()] = ()
    """Demands on a node's labels, all of which must hold."""


class PoolCache(ApiModel):
    """The cache volume of each node."""

    host_path: str = Field(default="/var/lib/hpi", pattern=ABSOLUTE_PATH, max_length=512)
    """Folder of the node that the agent owns."""

    quota_bytes: Annotated[int, Field(ge=2**20, le=MAX_BYTES)] = 100 * 2**30
    """Most that it may hold. Unit: bytes."""

    high_watermark_percent: int = Field(default=90, ge=2, le=100)
    """Share of the quota at which collection begins. Unit: percent."""

    low_watermark_percent: int = Field(default=75, ge=1, le=99)
    """Share of the quota at which it ends. Unit: percent."""

    sharing: Literal["Namespace", "Cluster"] = "Namespace"
    """Who may use an engine that another namespace built: engines are native code. Namespace: nobody. Cluster:
    everybody."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.lowWatermarkPercent < self.highWatermarkPercent",
            "lowWatermarkPercent must be smaller than highWatermarkPercent",
            lambda self: self.low_watermark_percent < self.high_watermark_percent,
        ),
    )


class Window(ApiModel):
    """When nodes may be changed."""

    cron: Annotated[str, Field(pattern=CRON, max_length=128)]
    """When the window opens, in the five fields of cron."""

    time_zone: str = Field(default="UTC", pattern=TIME_ZONE, max_length=64)
    """Time zone of the five fields, such as `Europe/Berlin`."""

    duration_seconds: Annotated[int, Field(ge=60, le=604_800)]
    """How long it stays open. Unit: seconds."""


class Upgrade(ApiModel):
    """How another runtime reaches the nodes: in waves, the canaries first."""

    max_unavailable: IntOrPercent = "10%"
    """Nodes that may be changed at once."""

    canary_percent: int = Field(default=5, ge=0, le=100)
    """Share of the nodes that go first, chosen by the hash of their UID; at least one node unless it is 0. Unit:
    percent."""

    max_failed_nodes: IntOrPercent = 2
    """Nodes that may fail before the wave stops."""

    soak_seconds: int = Field(default=300, ge=0, le=604_800)
    """How long the canaries, and then each wave, must hold before the next. Unit: seconds."""

    auto_rollback: Literal["Enabled", "Disabled"] = "Enabled"
    """Whether nodes go back when a wave stops. Disabled: they stay as they are."""

    paused: bool = False
    """Whether waves stand still where they are."""

    window: Window | None = None
    """When nodes may be changed. Absent: always."""


class NodePoolSpec(ApiModel):
    """Which nodes, which runtimes, which cache, which pace."""

    node_selector: NodeSelector = Field(default_factory=NodeSelector)
    """Which nodes belong to the pool. Pools must not overlap: of two that do, the older has the node."""

    runtimes: Annotated[tuple[ObjectName, ...], Field(strict=False, max_length=8), ListSet()] = ()
    """HPIRuntimes that its nodes may have. Empty: every one that fits them."""

    cache: PoolCache = Field(default_factory=PoolCache)
    """The cache volume of each node."""

    upgrade: Upgrade = Field(default_factory=Upgrade)
    """How another runtime reaches the nodes."""


class StateCount(ApiModel):
    """Nodes in one state of the upgrade."""

    state: Word
    """State of the upgrade, such as `Done`, `Queued` or `Failed`."""

    nodes: Count
    """Nodes in that state."""


class WaitingNode(ApiModel):
    """A node that waits, as an example."""

    node: ObjectName
    """Name of the node."""

    state: Word
    """State of the upgrade in which it waits."""

    reason: Sentence = ""
    """What it waits for."""

    since: Timestamp
    """Since when it waits."""


class NodePoolStatus(ApiModel):
    """How far the pool is."""

    observed_generation: Generation | None = None
    """Generation of the spec that this is about."""

    conditions: Conditions = ()
    """Observations: `Overlapping`, `UpToDate`, `Paused` and others."""

    nodes: Count = 0
    """Nodes of the pool."""

    ready_nodes: Count = 0
    """Nodes where a pod may land."""

    states: Annotated[tuple[StateCount, ...], Field(strict=False, max_length=16), ListMap(("state",))] = ()
    """Nodes by state of the upgrade."""

    wave: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Number of the wave under way; 0: none, 1: the canaries."""

    waiting: Annotated[tuple[WaitingNode, ...], Field(strict=False, max_length=MAX_EXAMPLES), ListMap(("node",))] = ()
    """Up to five nodes that have waited longest."""


class HPINodePool(ApiModel):
    """A group of nodes whose runtimes and cache are kept together."""

    api_version: Literal["hpi.paddlex.io/v1alpha1"]
    """Always `hpi.paddlex.io/v1alpha1`."""

    kind: Literal["HPINodePool"]
    """Always `HPINodePool`."""

    metadata: Metadata
    """Name of the object."""

    spec: NodePoolSpec = Field(default_factory=NodePoolSpec)
    """Which nodes, which runtimes, which cache, which pace."""

    status: NodePoolStatus | None = None
    """How far the pool is."""
