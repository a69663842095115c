"""The five kinds of the group, and how `kubectl` shows them."""

from __future__ import annotations

import re
from typing import Final

from hpi_core.api.definition import Column, Kind, Scale
from hpi_core.api.rules import Rule
from hpi_core.api.v1alpha1.engine import NAME_DIGITS, HPIEngine
from hpi_core.api.v1alpha1.node import HPINode
from hpi_core.api.v1alpha1.node_pool import HPINodePool
from hpi_core.api.v1alpha1.pipeline import NAME_RULE, HPIPipeline
from hpi_core.api.v1alpha1.runtime import HPIRuntime

KIBIBYTE: Final = 1024
ENGINE_NAME: Final = rf"^e-[0-9a-f]{{{NAME_DIGITS}}}$"

AGE: Final = Column("Age", "date", ".metadata.creationTimestamp", "Time since the object was made.")


def _condition(name: str, of: str, description: str, priority: int = 0) -> Column:
    return Column(name, "string", f'.status.conditions[?(@.type=="{of}")].status', description, priority)


PIPELINE: Final = Kind(
    model=HPIPipeline,
    plural="hpipipelines",
    short_names=("hpi", "hpip"),
    scope="Namespaced",
    size_limit_bytes=96 * KIBIBYTE,
    columns=(
        Column("Pipeline", "string", ".status.pipeline", "Name of PaddleX's pipeline or module."),
        _condition("Ready", "Ready", "Whether it serves as wanted."),
        Column("Serving", "integer", ".status.readyReplicas", "Replicas that serve."),
        Column("Wanted", "integer", ".status.wantedReplicas", "Replicas that are wanted."),
        Column("Backend", "string", ".status.backend", "Backends in use."),
        Column("Hardware", "string", ".status.hardware", "Hardware in use."),
        AGE,
        Column("Runtime", "string", ".status.runtime", "The HPIRuntime in use.", 1),
        Column("Revision", "string", ".status.revision", "The revision that has the traffic.", 1),
        Column("URL", "string", ".status.url", "Where it answers.", 1),
        Column("Why", "string", '.status.conditions[?(@.type=="Ready")].message', "Why it is ready or not.", 1),
    ),
    scale=Scale(".spec.replicas", ".status.replicas", ".status.selector"),
    rules=(NAME_RULE,),
)

ENGINE: Final = Kind(
    model=HPIEngine,
    plural="hpiengines",
    short_names=("hpie",),
    scope="Namespaced",
    size_limit_bytes=24 * KIBIBYTE,
    columns=(
        Column("Model", "string", ".spec.modelName", "PaddleX's name of the model."),
        Column("Device", "string", ".spec.hardwareClass.device", "What computes."),
        _condition("Ready", "Ready", "Whether a decision is there."),
        Column("Chosen", "string", ".status.chosen", "The candidate that serves."),
        Column("Quality", "string", ".status.quality", "Measured, or provisional."),
        _condition("Wanted", "Wanted", "Whether a pipeline wants it."),
        AGE,
        Column("Attempts", "integer", ".status.attempts", "Builds begun so far.", 1),
        Column("Bytes", "integer", ".status.artifact.bytes", "Size of the built engine.", 1),
        Column("Holder", "string", ".status.holder", "Node whose agent built it.", 1),
        Column("Tenant", "string", ".spec.tenant", "Who may share it.", 1),
    ),
    rules=(
        Rule(
            f"self.metadata.name.matches('{ENGINE_NAME}')",
            f"metadata.name must be 'e-' and the first {NAME_DIGITS} hexadecimal digits of the digest of the spec",
            lambda self: re.fullmatch(ENGINE_NAME, self.metadata.name) is not None,
        ),
    ),
)

RUNTIME: Final = Kind(
    model=HPIRuntime,
    plural="hpiruntimes",
    short_names=("hpir",),
    scope="Cluster",
    size_limit_bytes=16 * KIBIBYTE,
    columns=(
        Column("Variant", "string", ".spec.variant", "The plugin variant."),
        Column("Version", "string", ".spec.version", "Its version."),
        Column("Hardware", "string", ".spec.accelerator", "Hardware that it is for."),
        Column("State", "string", ".spec.state", "Whether it may be chosen."),
        Column("Usable", "integer", ".status.nodes.usable", "Nodes where its self-test passed."),
        Column("Failed", "integer", ".status.nodes.failed", "Nodes where its self-test failed."),
        AGE,
        Column("Pipelines", "integer", ".status.pipelines", "Pipelines that run it.", 1),
        Column("Delivery", "string", ".spec.delivery", "How it comes to a node.", 1),
        Column("Python", "string", ".spec.python", "Version of Python inside.", 1),
    ),
)

NODE_POOL: Final = Kind(
    model=HPINodePool,
    plural="hpinodepools",
    short_names=("hpinp",),
    scope="Cluster",
    size_limit_bytes=8 * KIBIBYTE,
    columns=(
        Column("Nodes", "integer", ".status.nodes", "Nodes of the pool."),
        Column("Ready", "integer", ".status.readyNodes", "Nodes where a pod may land."),
        _condition("UpToDate", "UpToDate", "Whether every node has what it shall have."),
        _condition("Overlapping", "Overlapping", "Whether another pool selects the same nodes."),
        Column("Wave", "integer", ".status.wave", "Number of the wave under way."),
        AGE,
        Column("Sharing", "string", ".spec.cache.sharing", "Who may use engines of other namespaces.", 1),
    ),
)

NODE: Final = Kind(
    model=HPINode,
    plural="hpinodes",
    short_names=("hpin",),
    scope="Cluster",
    size_limit_bytes=72 * KIBIBYTE,
    columns=(
        Column("Pool", "string", ".spec.pool", "The pool that has the node."),
        _condition("Ready", "Ready", "Whether pods may land there."),
        Column("Devices", "string", ".status.hardware.devices[*].name", "Accelerators by sort."),
        Column("Driver", "string", ".status.hardware.drivers[*].version", "Drivers."),
        Column("Runtimes", "string", ".status.runtimes[*].name", "Runtimes on the node."),
        Column("Upgrade", "string", ".status.upgrade.state", "Where it stands in an upgrade."),
        AGE,
        Column("Agent", "string", ".status.agentVersion", "Version of the agent.", 1),
        Column("CacheBytes", "integer", ".status.cache.usedBytes", "What its cache holds.", 1),
    ),
)

KINDS: Final = (PIPELINE, ENGINE, RUNTIME, NODE_POOL, NODE)
"""The kinds, in the order in which people meet them."""
