"""What stays with a Labels layer when its annotation ends: the session, and which other layers it was made with."""

from __future__ import annotations

from collections.abc import Hashable

from napari.layers import Labels, Layer

from napari_fbrs.annotation.session import SESSION, Session
from napari_fbrs.gui.picture import Picture

_LAYERS = "napari-fbrs layers"  # key in the metadata of a Labels layer: ids of those, by role, and its own


def note_layers(labels: Labels, image: Picture, /, **others: Layer) -> None:
    """Note which image a Labels layer is annotated with, and which other layers, by their roles."""
    ids = _noted(labels, image) or _own(labels, image)
    labels.metadata[_LAYERS] = ids | {role: layer.unique_id for role, layer in others.items()}


def made_with(layer: Layer, role: str, labels: Layer, image: Picture) -> bool:
    """Whether a layer had this role when a Labels layer was annotated with this image."""
    return bool(_noted(labels, image).get(role) == layer.unique_id)


def kept_session(labels: Labels, image: Picture) -> Session | None:
    """Return the session of an annotation of this image, perhaps with other channels, that was kept with its labels."""
    session = labels.metadata.get(SESSION)
    return session if isinstance(session, Session) and _noted(labels, image) else None


def _noted(labels: Layer, image: Picture) -> dict[str, Hashable]:
    """Return the ids of the layers, by role; none for another image, or another shape of it."""
    # Nor for a duplicate: it has the metadata of the layer that it was made from.
    ids: dict[str, Hashable] = labels.metadata.get(_LAYERS, {})
    return ids if _own(labels, image).items() <= ids.items() else {}


def _own(labels: Layer, image: Picture) -> dict[str, Hashable]:
    return {"labels": labels.unique_id, "image": image.layer.unique_id, "shape": image.shape}
