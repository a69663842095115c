"""What decisions look at: the cluster, gathered before anything is decided.

Nodes are seen in groups of equals, so that a decision for one pipeline costs as much as there are sorts of nodes, not
as there are nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_core.api.v1alpha1.node import HPINode
from hpi_core.api.v1alpha1.node_pool import HPINodePool
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.api.v1alpha1.pipeline_status import ActiveCount
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.names import AGENT_PORT, NODE_FOLDER, OPERATOR_NAMESPACE
from hpi_operator.plan.intent import Manifest, ObjectKey, Refusal

MAX_EXAMPLES = 5


@dataclass(frozen=True)
class Taint:
    """A taint of a node."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True)
class NodeView:
    """One Node as far as decisions look at it."""

    name: str
    uid: str
    labels: Mapping[str, str]
    allocatable: Mapping[str, int]
    """Devices by resource name (`nvidia.com/gpu`), and `cpu` in millicores and `memory` in bytes."""
    taints: tuple[Taint, ...] = ()
    ready: bool = True
    unschedulable: bool = False


@dataclass(frozen=True)
class NodeGroup:
    """Nodes that no decision tells apart."""

    labels: Mapping[str, str]
    """Labels that any decision may ask for: architecture, accelerators, runtimes, those named in a node selector."""
    allocatable: Mapping[str, int]
    """Of one node."""
    taints: tuple[Taint, ...]
    schedulable: bool
    """Ready and not cordoned."""
    usable_runtimes: frozenset[str]
    """HPIRuntimes whose self-test has passed on every node of the group."""
    hardware: HPINode | None
    """An HPINode that stands for the group, with its status; None where no agent has reported."""
    count: int
    examples: tuple[str, ...]
    """Up to five names, sorted."""
    shares_engines: bool = False
    """Whether the pool of the nodes lets every namespace use the engines that one of them built."""


@dataclass(frozen=True)
class PodView:
    """One pod of a pipeline."""

    name: str
    uid: str
    revision: str
    class_: str
    """Class of hardware, in lower case."""
    track: str
    """`stable` or `canary`; empty for a pod that builds ahead of serving."""
    node: str | None
    phase: str
    ready: bool
    created_at: datetime
    restarts: int = 0
    waiting_reason: str | None = None
    """Such as `CrashLoopBackOff` or `ImagePullBackOff`."""
    message: str = ""
    """Of the container that waits or ended, or of the scheduler."""
    container: str | None = None
    exit_code: int | None = None
    unschedulable_since: datetime | None = None
    scheduled_at: datetime | None = None
    """When it got its node; None: it has none yet, or nobody says."""
    ready_at: datetime | None = None
    """Since when it answers; None: it does not, or nobody says."""
    deleting: bool = False


@dataclass(frozen=True)
class Settings:
    """Settings of the operator that decisions depend on."""

    namespace: str
    """Namespace of the operator."""
    agent_port: int = AGENT_PORT
    """Port of the node agent's endpoint on every node."""
    spill_after_seconds: int = 60
    engine_retention_seconds: int = 86_400
    """How long an HPIEngine that nothing wants is kept."""
    image_pull_policy: str = "IfNotPresent"
    node_folder: str = NODE_FOLDER
    """Folder of every node that its agent owns."""
    network_policies: bool = True
    monitoring_namespace: str | None = None
    """Namespace whose pods may read metrics; None: every one."""


@dataclass(frozen=True)
class ObservedPipeline:
    """Everything that the decision for one pipeline looks at."""

    pipeline: HPIPipeline
    uid: str
    generation: int
    created_at: datetime
    supply: tuple[NodeGroup, ...]
    runtimes: tuple[HPIRuntime, ...]
    now: datetime
    settings: Settings
    children: Mapping[ObjectKey, Manifest] = field(default_factory=dict)
    """Live objects with the pipeline's label, whole."""
    pods: tuple[PodView, ...] = ()
    engine_active: Mapping[str, ActiveCount] = field(default_factory=dict)
    """Replicas by how their engines came to be, by revision; summed over the HPINodes."""
    engine_messages: tuple[str, ...] = ()
    """Up to five messages of agents on replicas without a measured engine."""
    engines_in_use: tuple[str, ...] = ()
    """HPIEngines that replicas use, by the agents' word."""
    backends_in_use: tuple[str, ...] = ()
    """Backends that replicas serve on, by the agents' word; of models without an HPIEngine, too."""
    engines: tuple[HPIEngine, ...] = ()
    """HPIEngines of the namespace."""
    references: Mapping[ObjectKey, str | None] = field(default_factory=dict)
    """Objects that the spec names: text of the ConfigMap's key, access modes of the claim with commas between them,
    empty text for a Secret that is there; None: it is missing."""
    apis: frozenset[str] = frozenset()
    """Optional APIs that the cluster has, such as `gateway.networking.k8s.io/v1 HTTPRoute`."""
    namespace_terminating: bool = False
    pod_security: str = ""
    """Level of Pod Security that the namespace enforces; empty: none is named."""
    complete: bool = True
    """Whether every list was read to its end; where not, nothing is deleted."""
    problems: tuple[str, ...] = ()
    """What is wrong with the spec beyond its schema; the pipeline is not touched then."""
    refusals: tuple[Refusal, ...] = ()
    """What this pass, or the last one, could not write."""


@dataclass(frozen=True)
class ObservedNode:
    """Everything that the decision for one node looks at."""

    node: NodeView
    hpi_node: HPINode | None
    hpi_node_live: Manifest | None
    """The same as it is stored."""
    pools: tuple[HPINodePool, ...]
    pool_ages: Mapping[str, datetime]
    runtimes: tuple[HPIRuntime, ...]
    self_tests: tuple[Manifest, ...]
    """Live self-test pods on the node, whole."""
    wanted_engines: tuple[HPIEngine, ...]
    """HPIEngines that pipelines with pods on the node use or want, on whatever hardware."""
    now: datetime
    settings: Settings
    pod_security: str = ""
    """Level of Pod Security that the operator's own namespace enforces, where self-tests run."""
    complete: bool = True


@dataclass(frozen=True)
class ObservedPool:
    """Everything that the status of one pool looks at."""

    pool: HPINodePool
    generation: int
    created_at: datetime
    others: tuple[HPINodePool, ...]
    pool_ages: Mapping[str, datetime]
    nodes: tuple[tuple[NodeView, HPINode | None], ...]
    runtimes: tuple[HPIRuntime, ...]
    now: datetime


@dataclass(frozen=True)
class ObservedRuntime:
    """Everything that the status of one runtime looks at."""

    runtime: HPIRuntime
    generation: int
    nodes: tuple[HPINode, ...]
    """HPINodes that want it or have it."""
    pipelines: int
    now: datetime
    self_tests: tuple[tuple[str, Manifest], ...] = ()
    """Node and pod of the self-tests that are there."""
    namespace: str = OPERATOR_NAMESPACE
    """Where self-tests run."""
    pod_security: str = ""
    """Level of Pod Security that it enforces."""


@dataclass(frozen=True)
class ObservedEngines:
    """Everything that decides which HPIEngines of one namespace are wanted."""

    namespace: str
    engines: tuple[tuple[HPIEngine, datetime, str], ...]
    """With the time of creation and the UID."""
    wanted: frozenset[str]
    """Names that pipelines of the namespace want or use."""
    now: datetime
    settings: Settings
    complete: bool = True
