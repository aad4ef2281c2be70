"""Which channels, or which layers, the network is shown."""

from __future__ import annotations

from typing import Any

from napari import Viewer
from napari.layers import Image, Layer
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QFormLayout, QWidget

from napari_fbrs.errors import InputError
from napari_fbrs.gui.boxes import row
from napari_fbrs.gui.picture import Picture, alike, image_shape

_AS_IT_IS, _LAYERS = None, "layers"
_CHANNEL_LABELS = ("c", "ch", "channel", "channels")
_COLOURS = ("Red", "Green", "Blue")
_HOW = (
    "Choose one channel, which is shown to the network in grey, or up to three as red, green and blue.\n"
    "Contrast limits are those displayed. Masks belong to all channels: the channel's slider does not matter."
)


class ChannelBox(QWidget):
    """Offers the channels of an image layer, and layers that lie on it; hidden where there are none.

    Parameters
    ----------
    viewer : Viewer
        Where the layers are.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._image: Image | None = None
        self.source = QComboBox()
        self.source.setToolTip("What of the image the network is shown: all axes are positions, or one is channels")
        self.colours = [QComboBox() for _ in _COLOURS]
        for box, colour in zip(self.colours, _COLOURS, strict=True):
            box.setToolTip(f"{colour}. {_HOW}")
        self.source.currentIndexChanged.connect(self._offer_colours)
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addRow("Channels", self.source)
        self._row = row(*self.colours)
        layout.addRow("", self._row)
        self.hide()

    def offer(self, image: Image | None) -> None:
        """Offer what there is for an image layer; what was chosen for the same one stays, if it is still there."""
        sources = self._sources(image)
        told = [str(text) for text, _ in sources]
        if image == self._image and told == [self.source.itemText(i) for i in range(self.source.count())]:
            self._offer_colours(keep=True)
            return
        chosen = self.source.currentData() if image == self._image else self._likely(image, sources)
        self._image = image
        with QSignalBlocker(self.source):
            self.source.clear()
            for text, value in sources:
                self.source.addItem(text, value)
            self.source.setCurrentIndex(max(0, self.source.findData(chosen)))
        self.setVisible(len(sources) > 1)
        self._offer_colours()

    def picture(self, image: Image) -> Picture:
        """Return what is chosen of an image layer.

        Raises
        ------
        InputError
            If a channel or a layer is chosen twice, or the layers are no image together.
        """
        source = self.source.currentData() if image == self._image else _AS_IT_IS
        if source is _AS_IT_IS:
            return Picture(image)
        chosen = [
            box.currentData() for box in self.colours if box.currentIndex() >= 0 and box.currentData() is not None
        ]
        if source == _LAYERS:
            layers = {_key(layer): layer for layer in self._viewer.layers}
            first, *others = (layers[key] for key in chosen)
            return Picture(first, others=tuple(others))
        if len(set(chosen)) < len(chosen):
            raise InputError("a channel was chosen for two colours: choose another one, or none")
        return Picture(image, source, tuple(chosen))

    def _sources(self, image: Image | None) -> list[tuple[str, Any]]:
        """Return what can be shown of an image, by name."""
        sources: list[tuple[str, Any]] = [("the layer as it is", _AS_IT_IS)]
        if image is None or image.rgb:
            return sources
        shape, offset = image_shape(image), self._viewer.dims.ndim - image.ndim
        for axis, extent in enumerate(shape):
            if extent > 1 and axis + offset not in self._viewer.dims.displayed:
                sources.append((f"along {image.axis_labels[axis]} (axis {axis}, {extent} channels)", axis))
        return sources + [("several layers", _LAYERS)] * bool(self._alike(image))

    def _alike(self, image: Image) -> list[Image]:
        """Return the other layers that lie on an image."""
        layers = [layer for layer in self._viewer.layers if isinstance(layer, Image) and layer != image]
        return [layer for layer in layers if not layer.rgb and alike(image, layer)]

    @staticmethod
    def _likely(image: Image | None, sources: list[tuple[str, Any]]) -> Any:
        """Return the axis that is called channels, if there is one."""
        axes = [axis for _, axis in sources if isinstance(axis, int)]
        named = [a for a in axes if image is not None and image.axis_labels[a].lower() in _CHANNEL_LABELS]
        return named[0] if named else _AS_IT_IS

    def _offer_colours(self, _index: int = 0, *, keep: bool = False) -> None:
        """Offer channels, or layers, for each colour; at first what is displayed."""
        image, source = self._image, self.source.currentData()
        self._row.setVisible(source is not _AS_IT_IS)
        if image is None or source is _AS_IT_IS:
            return
        choices, likely = self._layer_choices(image) if source == _LAYERS else self._channel_choices(image, source)
        for number, box in enumerate(self.colours):
            before = box.currentData() if keep else None
            box.clear()
            for text, value in [("(none)", None)] * (number > 0) + choices:
                box.addItem(text, value)
            wanted = before if keep else likely[number] if number < len(likely) else None
            box.setCurrentIndex(max(0, box.findData(wanted)))

    def _layer_choices(self, image: Image) -> tuple[list[tuple[str, Any]], list[Any]]:
        layers = [image, *self._alike(image)]
        return [(layer.name, _key(layer)) for layer in layers], [_key(layer) for layer in layers]

    def _channel_choices(self, image: Image, axis: int) -> tuple[list[tuple[str, Any]], list[Any]]:
        count = image_shape(image)[axis]
        shown = round(float(image.world_to_data(self._viewer.dims.point[-image.ndim :])[axis]))
        return [(f"channel {i}", i) for i in range(count)], [min(max(shown, 0), count - 1)]


def _key(layer: Layer) -> str:
    """Return what tells a layer from others under any name, as a text that Qt finds again."""
    return str(layer.unique_id)
