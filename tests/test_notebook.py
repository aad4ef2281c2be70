"""The notebook in docs is run, and prints what it says it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "notebook.ipynb"


def test_every_cell_prints_what_the_page_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    cells = [cell for cell in json.loads(PAGE.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert len(cells) == 7
    for cell in cells:
        exec("".join(cell["source"]), names)
        shown = "".join(line for output in cell["outputs"] for line in output.get("text", ()))
        assert capsys.readouterr().out == shown
    coins, truth, again = names["coins"], names["truth"], names["again"]
    for label, known in ((1, 1), (2, 4), (3, 17)):
        ours, theirs = coins.labels == label, truth == known
        assert (ours & theirs).sum() > 0.8 * (ours | theirs).sum()
    np.testing.assert_array_equal(again.labels, coins.labels)
    assert names["done"].folder == Path("guessed")


@pytest.mark.parametrize("verb", ["segment", "replay", "batch"])
def test_the_verbs_take_what_the_commands_take(verb):
    """Every option of a command is an argument of the function of its name."""
    import inspect

    import napari_fbrs
    from napari_fbrs.cli import build_parser

    parser = build_parser([verb])._subparsers._group_actions[0].choices[verb]
    options = {action.dest for action in parser._actions} - {"help"}
    assert options <= set(inspect.signature(getattr(napari_fbrs, verb)).parameters)
