"""Images to try the plugin on, offline, and the objects that are known to be on them.

`coins`, `tissue` and `nuclei_stack` are what napari's menu *File > Open Sample* offers; they return layers as napari
takes them and import neither napari nor Qt. The truths and `coins_clicks` serve tests and the demo.
"""

from napari_fbrs.samples.clicks import coins_clicks
from napari_fbrs.samples.layers import coins, nuclei_stack, tissue
from napari_fbrs.samples.nuclei import NUCLEI_SCALE, generate_nuclei
from napari_fbrs.samples.truth import cell_truth, coins_truth

__all__ = [
    "NUCLEI_SCALE",
    "cell_truth",
    "coins",
    "coins_clicks",
    "coins_truth",
    "generate_nuclei",
    "nuclei_stack",
    "tissue",
]
