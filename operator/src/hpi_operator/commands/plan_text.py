"""A plan for people: what would be applied and why, what is needed for it, what the status would say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hpi_core.names import CLASS, NODE_RUNTIME_PREFIX, REVISION, TRACK
from hpi_operator.plan.intent import Manifest, Plan
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.pipeline_status import pipeline_word

REASONS_WHY: Final[Mapping[str, str]] = {
    "ServiceAccount": "the pods' account: no rights, and no token of it is mounted",
    "PodDisruptionBudget": "bounds what evictions may take away at once: spec.availability",
    "NetworkPolicy": "what may reach the pods, and what they may reach",
    "HorizontalPodAutoscaler": "scales the first class of hardware: spec.autoscaling",
    "PersistentVolumeClaim": "keeps engines and models: spec.cache",
    "HTTPRoute": "leads from the gateway to the pipeline: spec.route",
    "HPIEngine": "an engine to build ahead: spec.build.policy is Prebuild",
    "Job": "builds engines ahead, before the revision begins",
}
LEFT: Final = 2
SHOWN_DIGITS: Final = 12


def plan_text(observed: ObservedPipeline, plan: Plan, told: Sequence[str], ignored: Mapping[str, int]) -> str:
    """Return a plan as text.

    Args:
        observed: What was looked at.
        plan: What was decided.
        told: What was supposed, in words.
        ignored: Objects by kind that the files hold and that decide nothing.
    """
    return "\n".join([*_lines(observed, plan, told, ignored), ""])


def _lines(observed: ObservedPipeline, plan: Plan, told: Sequence[str], ignored: Mapping[str, int]) -> Iterator[str]:
    metadata = observed.pipeline.metadata
    yield f"HPIPipeline {metadata.namespace}/{metadata.name}: {pipeline_word(observed.pipeline)}, {_asked(observed)}"
    status: Mapping[str, Any] = plan.status or {}
    conditions = {one["type"]: one for one in status.get("conditions", ())}
    yield from _section("supposed, because no file says otherwise", told)
    if ignored:
        yield from _section("not looked at", [f"{count} {kind}" for kind, count in sorted(ignored.items())])
    for type_ in ("Accepted", "Placed"):
        one = conditions.get(type_)
        if one is not None and (one["status"] != "True" or one["message"]):
            word = "" if one["status"] == "True" else f"{one['reason']}: "
            # Each class of hardware has a line of its own.
            lines = (word + one["message"]).replace("; class ", "\nclass ").splitlines()
            yield from _section(("" if one["status"] == "True" else "not ") + type_.lower(), lines)
    if not plan.apply:
        yield from _section("would apply", ["nothing"])
        return
    yield from _section("needs", _needs(plan))
    yield from _section("would apply", _table([_row(one, observed, plan) for one in plan.apply]))
    if not any(one["kind"] == "Deployment" for one in plan.apply) and "Progressing" in conditions:
        yield from _section("then, and not yet, Deployments", [conditions["Progressing"]["message"]])
    yield from _section("notes", status.get("notes", ()))
    if status.get("url"):
        yield from _section("would answer at", [f"{status['url']} (inside the cluster)"])


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        yield from (" " * LEFT + line for line in lines)


def _asked(observed: ObservedPipeline) -> str:
    spec = observed.pipeline.spec
    if spec.autoscaling is not None:
        replicas = f"{spec.autoscaling.min_replicas} to {spec.autoscaling.max_replicas} replicas"
    else:
        count = 1 if spec.replicas is None else spec.replicas
        replicas = f"{count} replica{'' if count == 1 else 's'}"
    wishes = [one.class_ for one in spec.placement.accelerators]
    policy = f", {spec.placement.policy}" if len(wishes) > 1 else ""
    return f"{replicas} on {' or else '.join(wishes)}{policy}"


def _needs(plan: Plan) -> list[str]:
    """Return what each Deployment needs of a node."""
    found = []
    for one in plan.apply:
        if one["kind"] != "Deployment":
            continue
        spec = one["spec"]["template"]["spec"]
        selector = spec["nodeSelector"]
        runtimes = [key.removeprefix(NODE_RUNTIME_PREFIX) for key in selector if key.startswith(NODE_RUNTIME_PREFIX)]
        labels = [f"{key}={value}" for key, value in selector.items() if not key.startswith(NODE_RUNTIME_PREFIX)]
        limits = spec["containers"][0]["resources"].get("limits", {})
        devices = [f"{count} {name}" for name, count in limits.items() if "/" in name]
        terms = spec.get("affinity", {}).get("nodeAffinity")
        words = [f"a node where {', '.join(runtimes)} has passed its self-test", *labels]
        words += [f"{device} a replica" for device in devices]
        words += ["labels that tell its devices fit (see nodeAffinity)"] if terms else []
        found.append(f"{one['metadata']['name']}: {'; '.join(words)}")
    return found


def _row(manifest: Manifest, observed: ObservedPipeline, plan: Plan) -> tuple[str, str, str]:
    return manifest["kind"], manifest["metadata"]["name"], why(manifest, observed, plan)


def why(manifest: Manifest, observed: ObservedPipeline, plan: Plan) -> str:
    """Return why an object would be applied, in one line."""
    kind, labels = manifest["kind"], manifest["metadata"].get("labels", {})
    if kind == "ConfigMap":
        return f"revision {labels.get(REVISION)}: what its pods are made of, kept to go back to"
    if kind == "Deployment":
        return _why_deployment(manifest)
    if kind == "Service":
        track = manifest["spec"]["selector"].get(TRACK)
        if track is not None:
            return f"the {track} pods, for a gateway that splits requests by weight"
        return "pods of every revision on which a real inference has passed"
    return REASONS_WHY.get(kind, f"part of the {observed.pipeline.kind}")


def _why_deployment(manifest: Manifest) -> str:
    labels, spec = manifest["metadata"]["labels"], manifest["spec"]
    template = spec["template"]
    replicas = spec.get("replicas")
    count = "as many replicas as the autoscaler says" if replicas is None else f"{replicas} replicas"
    if replicas == 1:
        count = "1 replica"
    revision = template["metadata"]["labels"][REVISION]
    image = template["spec"]["containers"][0]["image"]
    return f"{count} of revision {revision} on {labels[CLASS]}, image {shown_image(image)}"


def shown_image(image: str) -> str:
    """Return an image with so many digits of its digest as people compare."""
    name, _, digits = image.partition("@sha256:")
    return f"{name}@sha256:{digits[:SHOWN_DIGITS]}…" if digits else image


def _table(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{kind:<{widths[0]}}  {name:<{widths[1]}}  {words}" for kind, name, words in rows]
