"""Condition types and reasons: the words of every status and event, each with what it means and what to do.

A reason is API: programs compare it, people search for it. The troubleshooting page is made from these sentences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Condition types.

READY: Final = "Ready"
"""HPIPipeline, HPIEngine, HPIRuntime, HPINode, HPINodePool: the sum of the others."""
ACCEPTED: Final = "Accepted"
"""HPIPipeline: the spec says something that can be tried."""
PLACED: Final = "Placed"
"""HPIPipeline: the cluster can offer a class of hardware and a runtime for it."""
PROGRESSING: Final = "Progressing"
"""HPIPipeline: a revision is on its way."""
AVAILABLE: Final = "Available"
"""HPIPipeline: enough replicas answer."""
ENGINE_ACTIVE: Final = "EngineActive"
"""HPIPipeline: replicas serve on the engines that were chosen for them."""
ENGINES_READY: Final = "EnginesReady"
"""HPIPipeline: every engine that is wanted ahead is there."""
CACHE_READY: Final = "CacheReady"
"""HPIPipeline: the cache volume can be had as asked. HPINode: its cache takes what pods bring."""
ROUTED: Final = "Routed"
"""HPIPipeline: the HTTPRoute that was asked for is there."""
WANTED: Final = "Wanted"
"""HPIEngine: a pipeline wants it."""
OVERLAPPING: Final = "Overlapping"
"""HPINodePool: another pool selects some of the same nodes."""
UP_TO_DATE: Final = "UpToDate"
"""HPINodePool: every node has the runtimes that it shall have."""
USABLE: Final = "Usable"
"""HPIRuntime: its self-test has passed on some node."""


@dataclass(frozen=True)
class Reason:
    """One reason."""

    name: str
    meaning: str
    """What was seen."""
    remedy: str
    """What to do next; `Nothing.` where time does it."""

    def __str__(self) -> str:
        """Return the word itself."""
        return self.name


def _reasons(*rows: tuple[str, str, str]) -> dict[str, Reason]:
    return {name: Reason(name, meaning, remedy) for name, meaning, remedy in rows}


REASONS: Final = _reasons(
    # Good.
    ("AsWanted", "Everything that was asked is there.", "Nothing."),
    ("SpecAccepted", "The spec is well formed and everything it refers to is there.", "Nothing."),
    ("ClassChosen", "The cluster offers a class of hardware and a runtime for it.", "Nothing."),
    ("Measured", "Every replica serves on engines that were chosen by measurement.", "Nothing."),
    ("RolloutComplete", "The wanted revision serves alone.", "Nothing."),
    ("EnoughReplicas", "As many replicas answer as the disruption budget demands.", "Nothing."),
    ("NotAsked", "The feature was not asked for.", "Nothing."),
    # The spec.
    (
        "InvalidSpec",
        "The spec does not say what it must.",
        "Correct the fields that the message names and apply the manifest again.",
    ),
    (
        "ReferenceMissing",
        "A ConfigMap, Secret or claim that the spec names is not there, or lacks the key.",
        "Create it, or correct the name; the pipeline goes on by itself.",
    ),
    (
        "NameTaken",
        "An object that the pipeline needs exists and belongs to somebody else.",
        "Rename or remove that object, or give the pipeline another name.",
    ),
    (
        "FieldConflict",
        "Another writer owns a field that the operator must state.",
        "Look in the object's managedFields for the writer that the message names, and stop it.",
    ),
    (
        "ObjectRefused",
        "The API server, or an admission rule of the cluster, does not take an object that the pipeline needs.",
        "Read the message: a quota, a policy, or a field that cannot be changed.",
    ),
    (
        "NotSupported",
        "The spec asks for what this release does not do.",
        "Take the field out that the message names, or use a release that does it.",
    ),
    (
        "NamespaceTerminating",
        "The namespace is being deleted; nothing new can be made in it.",
        "Nothing; the objects go with it.",
    ),
    # Placement.
    (
        "NoMatchingNode",
        "No node offers what the placement asks; the message says which nodes were seen and what they lack.",
        "Loosen the requirements, add a class to the placement, or add such a node.",
    ),
    (
        "NoMatchingRuntime",
        "No HPIRuntime fits the hardware and the constraint; the message names the nearest and why each does not fit.",
        "Install an HPIRuntime that fits, or loosen spec.runtime.",
    ),
    (
        "RuntimeNotUsable",
        "An HPIRuntime fits, but its self-test has not passed on any node that it fits.",
        "See `kubectl describe hpinode` for the self-test's message.",
    ),
    ("Spilled", "Replicas that waited for the wished class moved to the next.", "Nothing, or add hardware."),
    # Rollout.
    ("Progressing", "Replicas of the wanted revision are on their way.", "Nothing."),
    ("CanaryStep", "A canary serves its share of the requests.", "Nothing."),
    ("Paused", "The rollout is paused by spec.rollout.paused.", "Set it to false."),
    (
        "RevisionFailed",
        "More replicas of the wanted revision failed than the budget allows; it was stopped.",
        "Read the message of the pod and container, correct the spec; a changed spec is tried anew.",
    ),
    (
        "RolledBack",
        "The wanted revision failed and the last good one was put back.",
        "Read status.lastFailure, correct the spec; a changed spec is tried anew.",
    ),
    (
        "ProgressDeadlineExceeded",
        "The wanted revision made no progress for progressDeadlineSeconds.",
        "Look at the pods that the message names: scheduling, image, start-up.",
    ),
    # Replicas.
    ("TooFewReplicas", "Fewer replicas answer than are wanted.", "Look at the pods that the message names."),
    ("NoReplica", "No replica answers.", "Look at the pods that the message names."),
    ("ScaledToZero", "No replica is wanted.", "Raise spec.replicas."),
    # Engines.
    ("Provisional", "Replicas serve on engines that were measured while others kept the cores busy.", "Nothing."),
    ("Fallback", "Replicas serve on another engine than the first choice.", "See status.models for the reason."),
    ("Building", "Replicas serve on what loads first, while better engines are built.", "Nothing."),
    ("NotReported", "No agent has reported on the replicas yet.", "Look at the agent on the pods' nodes."),
    ("EngineFailed", "An engine was given up.", "See `kubectl describe hpiengine`."),
    (
        "ModelDigestUnknown",
        "Engines are wanted ahead, and the digest of a model is not known.",
        "Give the model a digest in spec.modules[].model.digest.",
    ),
    ("Prebuilding", "Engines are built before the revision that needs them begins.", "Nothing."),
    ("Prebuilt", "The engines that the revision needs have been built ahead.", "Nothing."),
    (
        "PrebuildGaveUp",
        "A build ahead did not end in its time; the revision goes on without.",
        "Look at the Job that the message names: a free device, the image, the models. A larger build.timeoutSeconds "
        "gives it more time.",
    ),
    ("Decided", "The engine has been decided.", "Nothing."),
    ("InUse", "A pipeline wants it.", "Nothing."),
    ("Unwanted", "No pipeline wants it any more; it is removed after a while.", "Nothing."),
    # Cache, route.
    (
        "AccessModeRefused",
        "A claim that one pod alone can mount cannot serve several replicas.",
        "Use ReadWriteMany, one replica, or medium Node.",
    ),
    (
        "ClaimPending",
        "The claim has no volume yet.",
        "Nothing, or look at the claim's events: storage class, capacity.",
    ),
    (
        "ClaimDiffers",
        "The claim that is there was made otherwise than it is asked for, and a claim cannot be changed.",
        "Take the fields back, or delete the claim with what it keeps: another one is made as asked.",
    ),
    (
        "RouteNotAccepted",
        "The gateway has not accepted the HTTPRoute.",
        "Read the gateway's words in the message: listener, hosts, ReferenceGrant.",
    ),
    ("ClaimMissing", "The claim that the spec names is not there.", "Create it, or correct the name."),
    (
        "ApiMissing",
        "The cluster does not have an API that the spec needs.",
        "Install it, or take the field out.",
    ),
    (
        "CacheFull",
        "The node's cache volume has no room for what a pod has built: the pod keeps it to itself, and others build it "
        "again.",
        "Make room on the volume that the message names, or make cache.quotaBytes of the pool smaller than the volume: "
        "what was used longest ago goes then.",
    ),
    (
        "CacheUnusable",
        "The node's cache volume cannot be read or written.",
        "Read the message: whether it is mounted, whose it is, whether its file system is sound.",
    ),
    # Nodes, pools, runtimes.
    ("SelfTestPassed", "The self-test of a runtime passed.", "Nothing."),
    ("SelfTestFailed", "The self-test of a runtime failed.", "Read the message: backend and error."),
    ("SelfTestRunning", "The self-test of a runtime is under way.", "Nothing."),
    ("RuntimeInstalling", "A node's agent installs a runtime's wheels.", "Nothing."),
    (
        "RuntimeInstallFailed",
        "A node's agent could not install a runtime's wheels; it tries again with growing pauses.",
        "Read the message: the lock, a wheel that is missing in index or wheelhouse, room, memory.",
    ),
    (
        "HostPathsForbidden",
        "The runtime is delivered to a folder of the node, and Pod Security forbids pods of the namespace to mount it.",
        "Label the namespace pod-security.kubernetes.io/enforce=privileged, or use a runtime that is delivered as an "
        "image.",
    ),
    (
        "SelfTestCannotStart",
        "The pod of a runtime's self-test cannot be started; the message names pod, container, image and the kubelet's "
        "words.",
        "Correct the image in the HPIRuntime, or what its registry asks for: the pod is made anew at once.",
    ),
    ("NoRuntimeFits", "No allowed runtime fits the node's hardware.", "See the message for the nearest."),
    ("NoReport", "The node's agent has not reported.", "Look at the agent's pod on that node."),
    ("HardwareFaulty", "The node's hardware or driver is broken.", "See status.hardware.notes of the HPINode."),
    ("NodeNotReady", "Kubernetes calls the node not ready.", "Look at the node."),
    ("PoolsOverlap", "Two pools select the same node; the older one has it.", "Change one of the selectors."),
    ("NoOverlap", "No other pool selects the same nodes.", "Nothing."),
    ("NoSuchRuntime", "The pool names a runtime that is not there.", "Create it, or correct the name."),
    ("NodesWaiting", "Nodes have not reached what they shall have.", "See status.waiting."),
    ("NotUsedYet", "No node wants it.", "Nothing, or widen a pool."),
    # The operator itself.
    (
        "PermissionMissing",
        "The operator may not do what it must; the message names verb and resource.",
        "Grant it; the chart's ClusterRole has every rule.",
    ),
    ("WorldIncomplete", "The operator does not see the whole cluster at the moment and removes nothing.", "Nothing."),
)
"""Every reason by its name."""


def reason(name: str) -> str:
    """Return a reason's name after checking that it is one.

    Raises:
        KeyError: There is no such reason; a word that nobody has explained must not reach a status.
    """
    return REASONS[name].name
