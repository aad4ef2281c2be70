from __future__ import annotations

import base64
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.objects import Sample
from napari_fbrs.evaluation.report import Result, Row, as_dict, require_plots, table, write_plot
from napari_fbrs.evaluation.simulation import Run
from napari_fbrs.evaluation.worst import Case, page, picture, worst
from napari_fbrs.inference.plane import make_plane

CLICK = (Click(0, 0),)
GOOD = Run(CLICK, (0.96,), (0.1,))
BAD = Run(CLICK * 3, (0.5, 0.6, 0.84), (0.2, 0.2, 0.2))
RESULT = Result(
    "coins",
    (Sample(0, 7), Sample(1, 2)),
    ("one", "two"),
    (Row("f-BRS-B", (GOOD, BAD), ((GOOD, GOOD), (BAD, BAD))), Row("voronoi", (BAD, BAD))),
    limit=3,
    facts={"format": "folder"},
)

FIRST, PEOPLE, SECOND = (
    "f-BRS-B 2.00 2.00 2.00 1 1 0.73 0.78 0.90 200",
    "2 people 2.00 ± 1.41 2.00 ± 1.41 2.00 ± 1.41",
    "voronoi 3.00 3.00 3.00 2 2 0.50 0.60 0.84 200",
)


def test_the_table():
    title, names, *lines = table(RESULT).splitlines()
    assert title == "coins, 2 objects"
    assert [" ".join(line.split()) for line in lines] == [FIRST, PEOPLE, SECOND]
    assert lines[0].index("200") == lines[2].index("200") == len(names) - 3  # in columns


def test_what_is_written_as_json():
    told = as_dict(RESULT)
    assert told["name"] == "coins"
    assert told["format"] == "folder"
    assert told["objects"] == [{"image": "one", "label": 7}, {"image": "two", "label": 2}]
    first = told["subjects"][0]
    assert first["figures"]["NoC@85"] == 2
    assert first["people"]["figures"]["NoC@85"] == {"mean": 2, "standard deviation": pytest.approx(2**0.5)}
    assert first["runs"][1] == {"clicks": [[0, 0, True]] * 3, "ious": [0.5, 0.6, 0.84], "seconds": [0.2] * 3}
    assert [len(runs) for runs in first["people"]["runs"]] == [2, 2]


def test_a_plot_is_drawn(tmp_path: Path):
    pytest.importorskip("matplotlib")
    write_plot(tmp_path / "curve.png", [RESULT, RESULT])
    with Image.open(tmp_path / "curve.png") as image:
        assert image.width > image.height > 300
    with pytest.raises(InputError, match=r"cannot draw into .*curve.docx"):
        write_plot(tmp_path / "curve.docx", [RESULT])
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]


def test_matplotlib_is_named_where_it_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r'pip install "napari-fbrs\[evaluation\]"'):
        require_plots()


def test_the_worst_come_first():
    none = Run((), (), ())
    assert worst([GOOD, BAD, none, Run(CLICK, (0.1,), (0.1,))], 2, 3) == [3, 1]
    assert worst([GOOD, GOOD], 5, 3) == [0, 1]


def case(title: str = "one, label 7") -> Case:
    truth = np.zeros((100, 150), int)
    truth[30:60, 40:80] = 1
    truth[:30] = -1
    mask = np.zeros(truth.shape, bool)
    mask[30:60, 60:100] = True
    image = np.full(truth.shape, 100, np.uint8)
    return Case(
        title, make_plane(image), truth, mask, Run((Click(45, 50), Click(45, 95, positive=False)), (0.2, 0.3), ())
    )


def test_a_picture_shows_truth_mask_and_clicks():
    pixels = picture(case())
    height, width = pixels.shape[:2]
    half = (width - 8) // 2
    assert max(height, half) == 360
    image, drawn = pixels[:, :half], pixels[:, -half:]
    assert (image == 100).all()
    colours = {tuple(int(value) for value in colour) for colour in np.unique(drawn.reshape(-1, 3), axis=0)}
    assert (255, 200, 0) in colours  # outline
    assert (0, 200, 60) in colours  # positive
    assert (235, 30, 30) in colours  # negative
    assert (55, 122, 169) in colours  # mask over grey
    assert (50, 50, 50) in colours  # does not count


def test_a_page_holds_its_pictures_itself():
    text = page("Worst of <coins>", [("coins, f-BRS-B", [case("one & two")])])
    assert "Worst of &lt;coins&gt;" in text
    assert "one &amp; two: IoU 0.20 after the first click, 0.30 after 2" in text
    (source,) = re.findall(r'src="([^"]+)"', text)
    content = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), picture(case()))
    assert "http" not in text
