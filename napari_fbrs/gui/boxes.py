"""What the widgets let the user choose from: layers, a model, a device."""

from __future__ import annotations

from statistics import median
from types import MappingProxyType

import torch
from magicgui.widgets import ComboBox, create_widget
from napari.layers import Layer
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_fbrs.errors import InputError
from napari_fbrs.gui.models import DownloadPanel, ModelBox
from napari_fbrs.gui.worker import LatestWorker
from napari_fbrs.inference.costs import measure_costs
from napari_fbrs.inference.settings import DEFAULT_MODE, MODES
from napari_fbrs.models.zoo import choose_device, load_model

_TOOLTIP = Qt.ItemDataRole.ToolTipRole
_MODES = MappingProxyType(
    {
        "NoBRS": "The network alone. Clicks it does not obey stay unmet.",
        "RGB-BRS": "Corrects the image until the network obeys: up to twenty passes through all of it a click.",
        "DistMap-BRS": "Corrects the click maps until the network obeys: up to twenty passes through all of it.",
        "f-BRS-A": "Corrects scales and biases deep in the network: can change most, and costs the most of the three.",
        "f-BRS-B": "Corrects scales and biases before the decoder, looking only around the clicks: what to start with.",
        "f-BRS-C": "Corrects scales and biases before the last layers: the quickest, and changes least.",
    }
)


class ModelBoxes(QObject):
    """A box with the models, and one with the devices to compute on."""

    chosen = Signal()  # another model or device
    failed = Signal(Exception)  # of a download

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.model = ModelBox()
        self.download = DownloadPanel()
        self.model.chosen.connect(self._on_this_machine)
        self.model.missing.connect(self.download.offer)
        self.download.finished.connect(self._downloaded)
        self.download.called_off.connect(self.model.refresh)
        self.download.failed.connect(self.failed)
        self.device = QComboBox()
        self.device.addItem(f"auto ({device_text(choose_device())})", "auto")
        for name in ("cpu", "cuda", "mps"):
            if _available(name):
                self.device.addItem(name, name)
        self.device.activated.connect(self.chosen)

    def add_to(self, form: QFormLayout) -> None:
        """Add a row for each box."""
        form.addRow("Model", self.model)
        form.addRow(self.download)
        form.addRow("Device", self.device)

    @property
    def names(self) -> tuple[str, str]:
        """What `load_model` takes: the name of a model that is there, and the device's."""
        return self.model.name, self.device.currentData()

    def close(self) -> None:
        """Call off a download."""
        self.download.close_down()

    def _on_this_machine(self) -> None:
        self.download.dismiss()
        self.chosen.emit()

    def _downloaded(self, name: str) -> None:
        self.model.refresh()
        self.model.use(name)
        self.chosen.emit()


class ModeBox(QComboBox):
    """A box with the ways of refining; each says what it does, and what it has cost on this machine."""

    def __init__(self) -> None:
        super().__init__()
        self._costs: dict[str, list[float]] = {}
        for index, mode in enumerate(MODES):
            self.addItem(mode)
            self._explain(index)
        self.setCurrentText(DEFAULT_MODE)
        self.currentIndexChanged.connect(lambda index: self.setToolTip(self.itemData(index, _TOOLTIP)))
        self.setToolTip(self.itemData(self.currentIndex(), _TOOLTIP))

    def measured(self, mode: str, milliseconds: float) -> None:
        """Take note of what a mask has cost."""
        self._costs.setdefault(mode, []).append(milliseconds)
        self._explain(self.findText(mode))
        self.setToolTip(self.itemData(self.currentIndex(), _TOOLTIP))

    def _explain(self, index: int) -> None:
        mode = self.itemText(index)
        costs = self._costs.get(mode)
        cost = f"{median(costs):.0f} ms a mask here, so far" if costs else "not measured on this machine yet"
        self.setItemData(index, f"{_MODES[mode]}\n({cost})", _TOOLTIP)


class CostMeter(QPushButton):
    """A button that measures, beside the window, what each mode costs on this machine."""

    failed = Signal(Exception)
    _told = Signal(str, float)  # from the worker's thread

    def __init__(self, boxes: ModelBoxes, modes: ModeBox) -> None:
        super().__init__()
        self._boxes = boxes
        self._worker = LatestWorker(self)
        self._told.connect(modes.measured)
        self._worker.failed.connect(self.failed)
        self._worker.idle.connect(self._name)
        self.clicked.connect(self._clicked)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setToolTip("Measure what a mask costs in each mode with this model on this machine; see the tooltips")
        self._name()

    @property
    def busy(self) -> bool:
        """Whether it is measuring."""
        return self._worker.busy

    def close_down(self) -> None:
        """Stop measuring, for good."""
        self._worker.close()

    def _clicked(self) -> None:
        if self._worker.busy:
            self._worker.cancel()
            return
        (name, device), told = self._boxes.names, self._told
        self._worker.submit(lambda cancelled: measure_costs(load_model(name, device), told.emit, cancelled))
        self._name()

    def _name(self) -> None:
        self.setText("Stop" if self._worker.busy else "Measure")


def layer_box(kind: type[Layer], *, nullable: bool = False) -> ComboBox:
    """Return a box with the layers of a kind; napari fills it once it is in a window."""
    box = create_widget(annotation=kind, options={"nullable": nullable})
    assert isinstance(box, ComboBox)  # what napari registers for layers
    return box


def scrolled(widget: QWidget) -> QVBoxLayout:
    """Return a layout that fills a widget, and scrolls where the widget is lower than what is in it."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    inner = _AsWide(area)
    area.setWidget(inner)
    outer = QVBoxLayout(widget)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(area)
    return QVBoxLayout(inner)


class _AsWide(QWidget):
    """Keeps the scroll area around it as wide as itself, the bar included."""

    def __init__(self, area: QScrollArea) -> None:
        super().__init__()
        self._area = area

    def event(self, event: QEvent | None) -> bool:
        """Follow what is inside."""
        done = super().event(event)
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            bar = self._area.verticalScrollBar()
            self._area.setMinimumWidth(self.minimumSizeHint().width() + (bar.sizeHint().width() if bar else 0))
        return done


def row(*widgets: QWidget) -> QWidget:
    """Return widgets side by side."""
    side_by_side = QWidget()
    layout = QHBoxLayout(side_by_side)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return side_by_side


def device_text(device: torch.device) -> str:
    """Return a device as people call it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    count = torch.get_num_threads()
    return f"CPU, {count} thread{'' if count == 1 else 's'}" if device.type == "cpu" else "Apple GPU"


def _available(device: str) -> bool:
    try:
        choose_device(device)
    except InputError:
        return False
    return True
