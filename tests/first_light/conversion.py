"""A classifier in Paddle's own format is converted and judged inside the cluster, and served."""

from __future__ import annotations

from typing import Any, Final

from first_light.beginning import engines_of
from first_light.models import CASE, CLASSIFIER
from first_light.stage import NAMESPACE, Stage
from first_light.timeline import Timeline
from hpi_core.names import PART, PIPELINE
from models.paddle_models import CASES
from support.eventually import eventually
from support.manifests import Document

NAME: Final = "classifier"
SECONDS: Final = 900.0
CLASSES: Final = 10
SHAPE: Final = (1, 3, 32, 32)


def convert_and_serve(stage: Stage, timeline: Timeline) -> None:
    """Apply the classifier, ask it as soon as it answers, and again once it serves what was converted."""
    with timeline.step("a classifier in Paddle's format serves") as step:
        stage.apply(_pipeline())
        url = eventually(lambda: stage.address(NAME), SECONDS, pause_seconds=0.5)
        answer = eventually(lambda: _answer(stage, url), SECONDS, pause_seconds=1.0)
        [output] = answer["outputs"]
        assert output["shape"] == [1, CLASSES], output
        step.tell(shape=output["shape"])
    with timeline.step("it was converted, judged against Paddle and measured") as step:
        stage.wait_for(NAME, "EngineActive", "True", "Measured", SECONDS)
        [pod] = stage.pods(f"{PIPELINE}={NAME},{PART}=serving")
        [after] = _answer(stage, url)["outputs"]
        largest = max(abs(one - other) for one, other in zip(output["data"], after["data"], strict=True))
        step.tell(engines=engines_of(stage, pod), largest_difference_to_paddle=f"{largest:.1e}")
        assert largest < 1e-4, "the converted model answers otherwise than Paddle did"
    with timeline.step("the classifier is deleted"):
        stage.kubectl("delete", "hpi", NAME, "--timeout=120s")


def _pipeline() -> Document:
    return {
        "apiVersion": "hpi.paddlex.io/v1alpha1",
        "kind": "HPIPipeline",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "module": {
                "name": "image_classification",
                "model": {"name": CASES[CASE].model_name, "source": CLASSIFIER, "format": "Paddle"},
            },
            "replicas": 1,
        },
    }


def _answer(stage: Stage, url: str) -> dict[str, Any]:
    count = SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3]
    values = [round((number % 255) / 255, 3) for number in range(count)]
    tensor = {"name": "x", "shape": list(SHAPE), "datatype": "FP32", "data": values}
    answer: dict[str, Any] = stage.fetch(f"{url}/v2/models/{CASES[CASE].model_name}/infer", {"inputs": [tensor]})
    return answer
