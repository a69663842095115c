"""The candidates for one model here: what its files, the machine and the manifest leave."""

from __future__ import annotations

from typing import Final

from hpi_agent.building.files import ModelFiles
from hpi_agent.building.key_parts import accuracy_of
from hpi_agent.building.site import Site
from hpi_agent.models.assemble import AssembledModel
from hpi_agent.select.candidates import Candidates, ModelFacts, Offer, enumerate_candidates
from hpi_agent.select.knowledge import Row
from hpi_agent.select.wish import Wish
from hpi_core.api.v1alpha1.pipeline import Build

BFLOAT16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16"})
"""Instruction sets that compute in bfloat16."""


def candidates_of(
    site: Site, model: AssembledModel, files: ModelFiles, wish: Wish, row: Row, build: Build
) -> Candidates:
    """Return what is worth trying for one model, with the files that it has now."""
    facts = ModelFacts(
        files.onnx is not None, files.convertible, model.paddle is not None, files.no_onnx, model.om is not None
    )
    offer = Offer(
        site.hardware.architecture,
        site.threads,
        site.runtimes,
        bfloat16=not BFLOAT16_FLAGS.isdisjoint(site.hardware.isa_flags),
        device=site.device.kind,
        accelerator=site.hardware.accelerator,
        device_versions=site.device_runtimes,
    )
    allowed = build.fallback == "Allowed"
    return enumerate_candidates(facts, wish, row, offer, accuracy_of(build), fallback_allowed=allowed)
