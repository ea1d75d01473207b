"""What is known of a model: from its checkpoint where that can be read, else from its preset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from autotune.plan.facts import Found, ModelFacts, Stored, facts_of_preset
from autotune.schema import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a model, from its checkpoint and its preset."""

    facts: ModelFacts
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


IDENTITY = ("layers", "hidden_size", "heads", "kv_heads", "intermediate_size", "experts")
"""Facts in which models differ, rather than fine-tuned or quantized versions of one."""

# A fact that a known shape lacks because of another that it lacks.
DEPENDS = {
    "experts_per_token": "experts",
    "moe_intermediate_size": "experts",
    "qk_rope_head_dim": "kv_lora_rank",
}
OPTIONAL = frozenset(
    {"experts", "kv_lora_rank", "index_topk", "sliding_window", "dense_layers", "sliding_layers"}
)
COMPARED = tuple(
    item.name
    for item in fields(ModelFacts)
    if item.name not in {"source", "stored", "weights_bytes", "cacheless_layers"}
)
ALIKE = 0.001  # of the parameters: some files hold constants beside the weights
FORMATS = ("method", "gemm_dtype", "moe_dtype", "kvcache_dtype")


def facts_of(model: ModelConfig, found: Found | None) -> Known:
    """Return what is known of a model: its checkpoint wins, its preset fills what that does not tell.

    A preset of another model, as the shape shows, fills nothing. Pure, and quick: asked for each candidate.
    """
    preset = facts_of_preset(model)
    if found is None:
        return Known(facts=preset, notes=(*_of_another(model), *_unknown_shape(preset)))
    read = found.facts
    differing = [name for name in COMPARED if _differs(read, preset, name)]
    another = read.shaped and bool(set(differing).intersection(IDENTITY))
    filled = [] if another else [name for name in COMPARED if not _told(read, name) and getattr(preset, name)]
    changes: dict[str, Any] = {name: getattr(preset, name) for name in filled}
    changes["stored"] = _stored(read.stored, preset.stored, another=another)
    changes["tied_embeddings"] = bool(changes.get("tied_embeddings", read.tied_embeddings))
    facts = replace(read, **changes)
    return Known(
        facts=facts,
        problems=(*found.problems, *_without_shape(facts, found)),
        notes=(
            *found.notes,
            *_difference(read, preset, differing, another=another),
            *_filling(read, facts, filled),
            *_unknown_shape(facts),
        ),
    )


def _of_another(model: ModelConfig) -> tuple[str, ...]:
    """The note on a preset whose facts stand for another path, where no checkpoint says how that is."""
    if model.describes in {None, model.path}:
        return ()
    return (
        f"no checkpoint of {model.path} can be read here: its facts are taken to be those of "
        f"{model.describes}; if it has another shape choose its model preset, or give model.layers and so on",
    )


def _told(read: ModelFacts, name: str) -> bool:
    """Whether a checkpoint tells a fact; where its shape is known, what it lacks is not there."""
    value = getattr(read, name)
    if not read.shaped:
        return bool(value)
    if name in OPTIONAL or value is not None:
        return True
    if name == "intermediate_size":
        return bool(read.experts) and not read.dense_layers
    return name in DEPENDS and getattr(read, DEPENDS[name]) is None


def _differs(read: ModelFacts, preset: ModelFacts, name: str) -> bool:
    said, has = getattr(preset, name), getattr(read, name)
    if name == "params" and preset.params and read.params:
        return abs(read.params - preset.params) > ALIKE * preset.params
    return bool(said) and _told(read, name) and has != said


def _stored(read: Stored | None, said: Stored | None, *, another: bool) -> Stored | None:
    """What the checkpoint stores; the formats of a method that is not known here may be the preset's."""
    if read is None:
        return None if another else said
    if said is None or read.method != said.method:
        return read
    return replace(
        read, gemm_dtype=read.gemm_dtype or said.gemm_dtype, moe_dtype=read.moe_dtype or said.moe_dtype
    )


def _difference(
    read: ModelFacts, preset: ModelFacts, differing: Iterable[str], *, another: bool
) -> tuple[str, ...]:
    """The note on facts that both tell, and tell differently."""
    told = [(name, getattr(read, name), getattr(preset, name)) for name in differing]
    if read.stored and preset.stored:
        pairs = [(name, getattr(read.stored, name), getattr(preset.stored, name)) for name in FORMATS]
        told += [(f"stored.{name}", has, said) for name, has, said in pairs if has and said and has != said]
    if not told:
        return ()
    listed = "; ".join(
        f"model.{name}: {read.source} says {_shown(has)}, the preset {said}" for name, has, said in told
    )
    rest = ", and nothing of the preset, which is of another model" if another else ""
    return (f"{listed}: {read.source} is used{rest}",)


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _filling(read: ModelFacts, facts: ModelFacts, filled: Iterable[str]) -> tuple[str, ...]:
    """The note on facts that only the preset tells."""
    names = ", ".join(f"model.{name}" for name in filled)
    if not names:
        return ()
    whole = facts.shaped and not read.shaped
    return (f"{'the shape of the model' if whole else names}: from the model preset",)


def _without_shape(facts: ModelFacts, found: Found) -> tuple[str, ...]:
    """The problem of a GGUF file from which no engine could tell the shape, nor the preset."""
    gguf = found.facts.stored is not None and found.facts.stored.method == "gguf"
    if facts.shaped or not gguf:
        return ()
    return (
        f"{facts.source} tells no number of layers or heads: give model.layers=... model.heads=... or a "
        "model preset with them",
    )


def _unknown_shape(facts: ModelFacts) -> tuple[str, ...]:
    if facts.shaped:
        return ()
    return (
        "no architecture facts: checks of heads, experts and memory are skipped; choose a model preset or "
        "give model.heads, model.layers, model.kv_heads, model.hidden_size",
    )
