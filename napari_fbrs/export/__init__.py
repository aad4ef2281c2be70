"""Every object of every plane of a label image, written for other programs; knows neither napari nor Qt."""

from napari_fbrs.export.formats import FORMATS, Format
from napari_fbrs.export.options import Options
from napari_fbrs.export.selection import Selection
from napari_fbrs.export.source import LabelImage, from_layer
from napari_fbrs.export.writing import Exported, export_labels

__all__ = ["FORMATS", "Exported", "Format", "LabelImage", "Options", "Selection", "export_labels", "from_layer"]
