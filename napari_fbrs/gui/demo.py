"""``python -m napari_fbrs.gui.demo``: napari on a real image, the widget docked, ready for the first click."""

from __future__ import annotations

from contextlib import suppress

import napari

from napari_fbrs.gui.widget import FBRSWidget
from napari_fbrs.samples import coins


def open_demo() -> tuple[napari.Viewer, FBRSWidget]:
    """Open a viewer on the coins with the annotation started."""
    viewer = napari.Viewer(title="napari-fbrs: click on a coin")
    data, options, _ = coins()[0]
    viewer.add_image(data, **options)
    widget = FBRSWidget(viewer)
    viewer.window.add_dock_widget(widget, name="f-BRS interactive segmentation", area="right")
    viewer.reset_view()  # the widget has taken room from the canvas
    widget.start()
    return viewer, widget


if __name__ == "__main__":
    open_demo()
    with suppress(KeyboardInterrupt):  # Ctrl+C in the terminal closes it
        napari.run()
