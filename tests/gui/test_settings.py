"""Shortcuts and the mouse, as users set them."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from napari.utils.key_bindings import coerce_keybinding

from napari_fbrs.clicks import Click
from napari_fbrs.gui import settings
from napari_fbrs.gui.keys import hint_text
from napari_fbrs.gui.settings import ACTIONS, OTHER_SIGN

SHAPE = (80, 100)


@pytest.fixture(autouse=True)
def _kept(monkeypatch):
    """Settings in memory: as of a napari without settings of plugins."""
    kept: dict[str, str] = {}

    class Kept:
        def value(self, key, default):
            return kept.get(key, default)

        def setValue(self, key, value):  # noqa: N802  Qt's name
            kept[key] = value

    monkeypatch.setattr(settings, "_of_napari", lambda: None)
    monkeypatch.setattr(settings, "_of_qt", Kept)


def click_with(bench, position, *, button=1, modifiers=()):
    events = bench.viewer.window._qt_viewer.canvas._scene_canvas.events
    at = bench.canvas_position(bench.annotator.layers.image, position)
    events.mouse_move(pos=at)
    events.mouse_press(pos=at, button=button, modifiers=modifiers)
    events.mouse_release(pos=at, button=button, modifiers=modifiers)


@pytest.mark.parametrize("how", [{"button": 2}, {"modifiers": ("Shift",)}])
def test_the_right_button_or_shift_is_the_other_sign(disc_bench, discs, how):
    disc_bench.click(40, 50)
    disc_bench.settle()
    click_with(disc_bench, (40, 54), **how)
    disc_bench.settle()
    clicks = [Click(40, 50), Click(40, 54, positive=False)]
    assert discs.calls[-1] == tuple(clicks)
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask(SHAPE, clicks))
    layers = disc_bench.annotator.layers
    np.testing.assert_allclose(layers.positive.data, [[40, 50]], atol=0.1)
    assert disc_bench.viewer.layers.selection.active == layers.positive
    disc_bench.click(20, 20)  # the next one is positive again
    disc_bench.settle()
    assert discs.calls[-1][-1] == Click(20, 20)
    disc_bench.annotator.undo()
    disc_bench.annotator.undo()
    disc_bench.settle()
    assert len(layers.negative.data) == 0


def test_the_mouse_can_be_left_alone(bench, discs):
    settings.write("mouse", "other_sign", OTHER_SIGN[-1])
    bench.add_image(np.zeros(SHAPE, np.uint8))
    bench.start()
    click_with(bench, (40, 50), modifiers=("Shift",))
    bench.settle()
    assert discs.calls == [(Click(40, 50),)]
    assert "other&nbsp;sign" not in bench.widget.hints.text()


def test_keys_are_rebound_and_listed(bench, discs):
    settings.write("keys", "next_object", "Shift-G")
    bench.add_image(np.zeros(SHAPE, np.uint8))
    bench.start()
    assert "<b>Shift+G</b>&nbsp;next&nbsp;object" in bench.widget.hints.text()
    bench.click(40, 50)
    bench.settle()
    bench.press("Shift-G")
    assert bench.annotator.session.object == 2
    assert coerce_keybinding("N") not in bench.annotator.layers.positive.keymap


def test_a_start_makes_use_of_what_was_set_since(disc_bench, discs):
    disc_bench.press("D")  # keys are bound on the strokes as well
    disc_bench.press("D")
    disc_bench.click(40, 50)
    disc_bench.settle()
    settings.write("keys", "next_object", "Shift-G")
    settings.write("mouse", "other_sign", OTHER_SIGN[-1])
    annotator = disc_bench.annotator
    disc_bench.start()
    assert disc_bench.annotator is annotator
    for layer in (*annotator.layers.ours(), annotator.strokes.layer):
        assert coerce_keybinding("N") not in layer.keymap
        assert coerce_keybinding("Shift-G") in layer.keymap
    assert "<b>Shift+G</b>&nbsp;next&nbsp;object" in disc_bench.widget.hints.text()
    click_with(disc_bench, (40, 54), modifiers=("Shift",))
    disc_bench.settle()
    assert discs.calls[-1] == (Click(40, 50), Click(40, 54))
    disc_bench.press("Shift-G")
    assert annotator.session.object == 2
    settings.write("keys", "next_object", "NoSuchKey-+")
    with disc_bench.refusal("NoSuchKey"):
        disc_bench.start()


def test_keys_of_a_panel_closed_do_nothing_in_the_next(disc_bench, discs):
    disc_bench.click(40, 20)
    disc_bench.settle()
    disc_bench.press("T")
    disc_bench.click(40, 25)
    disc_bench.settle()
    clicks = [Click(40, 20), Click(40, 25, positive=False)]
    settings.write("keys", "next_object", "Shift-G")
    disc_bench.open_widget()
    disc_bench.start()
    layers = disc_bench.annotator.layers
    assert not any(coerce_keybinding("N") in layer.keymap for layer in layers.ours())
    disc_bench.press("Shift-G")
    disc_bench.settle()
    assert disc_bench.annotator.session.object == 2
    disc_bench.annotator.undo()
    disc_bench.settle()
    assert {place.object for place in disc_bench.annotator.session.annotated()} == {1}
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask(SHAPE, clicks[:1]))


def test_hints_stand_apart_and_break_between_each_other_only():
    mouse = "<b>right&nbsp;button&nbsp;or&nbsp;Shift</b>&nbsp;the&nbsp;other&nbsp;sign"
    assert hint_text().endswith(f" &middot; <b>Ctrl+Shift+Z</b>&nbsp;redo &middot; {mouse}")
    settings.write("keys", "object_before", "Shift-G")
    settings.write("mouse", "other_sign", OTHER_SIGN[-1])
    assert " <b>Shift+G</b>&nbsp;object&nbsp;before &middot; " in hint_text()
    assert "sign" not in hint_text()


def test_a_key_that_is_none_is_told(bench, discs):
    settings.write("keys", "next_object", "NoSuchKey-+")
    bench.add_image(np.zeros(SHAPE, np.uint8))
    with bench.refusal("NoSuchKey"):
        bench.start()
    bench.press("T")
    assert not bench.annotator.sign


def test_c_locks_and_goes_on_and_shift_c_clears(disc_bench, discs):
    disc_bench.click(40, 20)
    disc_bench.settle()
    disc_bench.press("C")
    assert disc_bench.annotator.session.object == 2
    assert disc_bench.annotator.session.locked == {1}
    disc_bench.click(40, 70)
    disc_bench.settle()
    disc_bench.press("Shift-C")
    disc_bench.settle()
    assert not (disc_bench.labels == 2).any()
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask(SHAPE, [Click(40, 20)]))
    disc_bench.press("Control-Z")
    disc_bench.settle()
    assert (disc_bench.labels == 2).any()
    disc_bench.press("J")
    assert disc_bench.annotator.session.object == 1
    disc_bench.press("K")
    assert disc_bench.annotator.session.object == 2


def test_the_manifest_offers_the_same_settings():
    from importlib.resources import files

    manifest = yaml.safe_load(files("napari_fbrs").joinpath("napari.yaml").read_text())
    offered = manifest["contributions"]["configurations"]
    assert {name: p["default"] for name, p in offered["keys"]["properties"].items()} == {
        name: action.key for name, action in ACTIONS.items()
    }
    assert tuple(offered["mouse"]["properties"]["other_sign"]["enum"]) == OTHER_SIGN


def test_napari_keeps_the_settings(npe2pm, monkeypatch, tmp_path):
    import napari.settings as napari_settings

    if not hasattr(napari_settings, "get_plugin_settings"):
        pytest.skip("this napari has no settings of plugins")
    monkeypatch.undo()
    monkeypatch.setattr(napari_settings, "_PLUGIN_SETTINGS", {})
    with npe2pm.tmp_plugin(package="napari-fbrs"):
        napari_settings.get_plugin_settings(path_dir=tmp_path)
        assert settings.read_keys()["sign"] == "T"
        settings.write("keys", "sign", "G")
        assert settings.read_keys()["sign"] == "G"
