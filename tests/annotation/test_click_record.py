from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import numpy.typing as npt
import pytest
from fakes import DiscPredictor

from napari_fbrs.annotation import click_record
from napari_fbrs.annotation import image as image_module
from napari_fbrs.annotation.click_record import (
    Record,
    compose,
    decode_record,
    digest,
    encode_record,
    plane_digest,
    read_record,
    record_of,
    schema,
    write_record,
)
from napari_fbrs.annotation.history import Base, Place
from napari_fbrs.annotation.image import Channels, Composite, Image, PlaneIndex, channels_of
from napari_fbrs.annotation.labels import ArrayLabels, LabelChange, PlaneMask
from napari_fbrs.annotation.objects import Objects
from napari_fbrs.annotation.replaying import check_image, replay, shown_image
from napari_fbrs.annotation.session import Session
from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Crop
from napari_fbrs.strokes import Stroke

SHAPE = (3, 40, 50)
IMAGE = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)


class OtherDiscs(DiscPredictor):
    """Smaller discs, by a model of another hash."""

    method = DiscPredictor.method.__class__("small", "5a11" * 16, "NoBRS", DiscPredictor.method.settings)

    def __init__(self) -> None:
        super().__init__(radius=2)


def predictor_of(method: Any) -> Any:
    return {"discs": DiscPredictor, "small": OtherDiscs}[method.model]()


def session_on() -> Session:
    return Session(IMAGE, DiscPredictor())  # type: ignore[arg-type]


def everything(session: Session) -> npt.NDArray[Any]:
    return np.asarray(session.labels.read((slice(None),) * session.image.ndim)).copy()


def paint(session: Session, where: tuple[Any, ...], label: int) -> None:
    indices = tuple(np.argwhere(np.zeros(SHAPE)[where] == 0).T + np.array([[s.start] for s in where]))
    before = session.labels.read(indices)
    change = LabelChange(indices, before, np.full_like(before, label))
    change.do(session.labels)
    session.painted(change)


def annotated() -> Session:
    """Two objects that overlap, with a stroke, an undo, and painting; a third on another plane."""
    session = session_on()
    session.click(Click(10, 10), position=(0,))
    session.click(Click(30, 40), position=(0,))
    session.undo()
    session.click(Click(13, 13, False), position=(0,))
    session.next_object()
    session.click(Stroke.of([[12, 8], [12, 9], [13, 9]]), position=(0,))
    paint(session, (slice(0, 1), slice(30, 33), slice(20, 26)), 9)
    paint(session, (slice(0, 1), slice(9, 11), slice(9, 11)), 0)
    session.next_object()
    session.click(Click(20.5, 30.25), position=(2,))
    session.classes[2] = "nucleus é"
    session.locked.add(2)
    session.threshold, session.extent = 0.4, 12.5
    return session


def act(session: Session, rng: np.random.Generator) -> None:
    """Do one of the things a user does."""
    row, column = (int(rng.integers(n)) for n in SHAPE[1:])
    position, axes = ((int(rng.integers(3)),), [(1, 2), (1, 2), (2, 1)][rng.integers(3)])
    if axes == (2, 1):
        row, column = column, row
    objects = Objects(session)
    what = rng.integers(10)
    if what < 4:
        session.click(Click(row, column, bool(rng.random() < 0.7)), position=position, axes=axes)
    elif what == 4:
        session.next_object()
    elif what == 5:
        session.undo()
    elif what == 6:
        session.overwrite = not session.overwrite
    elif what == 7:
        paint(session, (slice(0, 2), slice(10, 14), slice(row, row + 2)), int(rng.integers(4)))
    elif what == 8:
        session.predictor = [DiscPredictor, OtherDiscs][rng.integers(2)]()  # type: ignore[assignment]
    elif len(objects.known()) > 2 and rng.random() < 0.5:
        objects.merge(objects.known()[0], objects.known()[1])
    elif objects.known():
        session.object = objects.known()[0]


def test_a_file_s_name_that_is_not_utf_8_comes_back(tmp_path):
    record = record_of(annotated(), name="zell_\udcfc.tif", source="/images/zell_\udcfc.tif")
    write_record(tmp_path / "a.clicks.json", record)
    assert read_record(tmp_path / "a.clicks.json").image == record.image


@pytest.mark.parametrize("seed", range(12))
def test_whatever_was_done_the_labels_come_back_pixel_by_pixel(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    session = session_on()
    for _ in range(25):
        act(session, rng)
    path = tmp_path / "done.clicks.json"
    write_record(path, record_of(session, name="done"))
    again = replay(path, IMAGE, predictor_of)
    np.testing.assert_array_equal(again.labels, everything(session))
    assert again.different == ()
    assert {m.place: m.refinement.clicks for m in again.record.masks if m.refinement.clicks} == {
        place: session.refinement(place).clicks
        for p in session.annotated()
        if (place := p) and session.refinement(p).clicks
    }


def test_masks_that_a_model_can_compute_are_not_in_the_record() -> None:
    data = encode_record(record_of(annotated(), name="cells"))
    assert not any("kept" in mask or "base" in mask for mask in data["masks"])
    # Painted are 18 pixels of object 9 and 4 erased ones; all others follow from clicks.
    assert data["painted"]["pixels"] == 22


def test_what_is_recorded_is_what_people_can_read(tmp_path: Path) -> None:
    path = tmp_path / "cells.clicks.json"
    write_record(path, record_of(annotated(), name="cells", source="cells.tif"))
    text = path.read_text(encoding="utf-8")
    data = json.loads(text)
    assert [(mask["object"], mask["plane"], mask["rounds"]) for mask in data["masks"]] == [
        (1, [0], [[[10, 10, 1]], [[13, 13, 0]]]),
        (2, [0], [[{"stroke": "12:8-9 13:9-9", "positive": 1}]]),
        (10, [2], [[[20.5, 30.25, 1]]]),
    ]
    assert all(
        sum(line.count('"rounds"') for line in text.splitlines()[i : i + 1]) <= 1 for i in range(text.count("\n"))
    )
    assert data["objects"][1] == {"object": 2, "class": "nucleus é", "locked": True}
    assert data["settings"] == {"object": 10, "threshold": 0.4, "extent": 12.5}
    assert (data["image"]["name"], data["image"]["source"], data["image"]["shape"]) == (
        "cells",
        "cells.tif",
        [3, 40, 50],
    )
    assert data["predictors"][0]["sha256"] == DiscPredictor.method.sha256
    assert {"at", "napari-fbrs", "torch", "numpy"} <= data["made"].keys()


def test_records_follow_their_schema(tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    session = annotated()
    place = session.place((1,))
    base = Base(PlaneMask.of_plane(np.eye(40, 50) > 0), (Click(1, 1),), np.ones((2, 3), np.float32), False, 0.5)
    session.edit(place, session.refinement(place).__class__(base=base))
    session.update(place)
    path = tmp_path / "cells.clicks.json"
    write_record(path, record_of(session))
    jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), schema())


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = record_of(annotated(), name="cells")
    path = tmp_path / "cells.clicks.json"
    write_record(path, record)
    back = read_record(path)
    assert encode_record(back) == encode_record(record)
    assert [(m.place, m.refinement, m.method, m.digest) for m in back.masks] == [
        (m.place, m.refinement, m.method, m.digest) for m in record.masks
    ]
    assert back.largest == 10


def test_pixels_belong_to_the_first_object_or_to_the_last() -> None:
    plane = PlaneIndex((0,), (1, 2))
    masks = [
        (Place(1, plane), PlaneMask.pack(Crop(0, 1, 0, 1), np.ones((2, 2), bool))),
        (Place(2, plane), PlaneMask.pack(Crop(1, 2, 1, 2), np.ones((2, 2), bool))),
        (Place(3, plane), None),
    ]
    first = compose(masks, (1, 3, 3), np.int32, overwrite=False)[0]
    last = compose(masks, (1, 3, 3), np.int32, overwrite=True)[0]
    assert first.tolist() == [[1, 1, 0], [1, 1, 2], [0, 2, 2]]
    assert last.tolist() == [[1, 1, 0], [1, 2, 2], [0, 2, 2]]


def test_the_rows_of_a_turned_plane_are_columns_of_the_image() -> None:
    mask = PlaneMask.pack(Crop(0, 0, 0, 2), np.ones((1, 3), bool))
    labels = compose([(Place(4, PlaneIndex((1,), (2, 1))), mask)], (2, 3, 5), np.int32, overwrite=False)
    assert np.argwhere(labels).tolist() == [[1, 0, 0], [1, 1, 0], [1, 2, 0]]


def test_masks_of_several_models_are_computed_by_theirs() -> None:
    session = session_on()
    session.click(Click(10, 10), position=(0,))
    session.predictor = OtherDiscs()  # type: ignore[assignment]
    session.next_object()
    session.click(Click(30, 30), position=(0,))
    record = record_of(session)
    assert [mask.method.model for mask in record.masks if mask.method] == ["discs", "small"]
    assert [method.model for method in record.methods] == ["small", "discs"]
    np.testing.assert_array_equal(replay(record, IMAGE, predictor_of).labels, everything(session))


def test_a_model_that_predicted_nothing_is_not_needed() -> None:
    session = session_on()
    session.click(Click(10, 10), position=(0,))
    session.predictor = OtherDiscs()  # type: ignore[assignment]
    asked = []

    def asking(method: Any) -> Any:
        asked.append(method.model)
        return predictor_of(method)

    replay(record_of(session), IMAGE, asking)
    assert set(asked) == {"discs"}


def test_a_mask_of_unknown_origin_is_kept_as_it_is() -> None:
    session = annotated()
    place = session.place((2,))
    mask = PlaneMask.pack(Crop(0, 1, 0, 1), np.ones((2, 2), bool))
    session.adopt(place, session.refinement(place), mask)
    record = record_of(session)
    assert [recorded.kept for recorded in record.masks] == [False, False, True]
    again = replay(record, IMAGE, predictor_of)
    np.testing.assert_array_equal(again.labels, everything(session))
    assert again.different == ()


def test_digests_tell_masks_apart() -> None:
    square = np.ones((2, 2), bool)
    masks = [None, PlaneMask.pack(Crop(0, 1, 0, 1), square), PlaneMask.pack(Crop(0, 1, 1, 2), square)]
    masks.append(PlaneMask.pack(Crop(0, 1, 0, 1), np.eye(2) > 0))
    assert len({digest(mask) for mask in masks}) == 4


# what anybody may have written


def changed(change: Callable[[Any], object]) -> Any:
    data = copy.deepcopy(json.loads(json.dumps(encode_record(record_of(annotated(), name="cells")))))
    change(data)
    return data


def at(*path: str | int, value: Any) -> Callable[[Any], object]:
    def change(data: Any) -> None:
        for part in path[:-1]:
            data = data[part]
        data[path[-1]] = value

    return change


def bomb() -> str:
    import base64
    import zlib

    return base64.b64encode(zlib.compress(bytes(10**7))).decode()


HOSTILE = {
    "no object": (lambda data: data.clear(), "no click record"),
    "another format": (at("format", value="journal"), "no click record"),
    "a newer version": (at("version", value=2), "version 2"),
    "no masks": (lambda data: data.pop("masks"), "damaged"),
    "an unknown part": (at("script", value="rm"), "damaged"),
    "a click outside": (at("masks", 0, "rounds", value=[[[40, 0, 1]]]), "outside"),
    "a stroke outside": (at("masks", 0, "rounds", value=[[{"stroke": "39:0-50", "positive": 1}]]), "outside"),
    "a stroke of terapixels": (
        at("masks", 0, "rounds", value=[[{"stroke": "0:0-999999999", "positive": 1}]]),
        "no stroke",
    ),
    "a click at no number": (at("masks", 0, "rounds", value=[[[None, 0, 1]]]), "damaged"),
    "a click at a huge number": (at("masks", 0, "rounds", value=[[[10**400, 0, 1]]]), "damaged"),
    "a click of no sign": (at("masks", 0, "rounds", value=[[[1, 1, 2]]]), "damaged"),
    "an empty round": (at("masks", 0, "rounds", value=[[]]), "damaged"),
    "no such plane": (at("masks", 0, "plane", value=[3]), "no plane"),
    "a plane that is no whole number": (at("masks", 0, "plane", value=[0.0]), "damaged"),
    "axes twice": (at("masks", 0, "axes", value=[1, 1]), "position"),
    "a plane without pixels": (lambda data: data["planes"].pop(0), "not in the list of planes"),
    "an object twice": (at("masks", 1, "object", value=1), "twice"),
    "object 0": (at("masks", 0, "object", value=0), "damaged"),
    "no such predictor": (at("masks", 0, "predictor", value=7), "damaged"),
    "nothing to predict with": (lambda data: data["masks"][0].pop("predictor"), "nothing to predict"),
    "an unknown mode": (at("predictors", 0, "mode", value="magic"), "damaged"),
    "an input of gigapixels": (at("predictors", 0, "settings", "zoom", "target_size", value=10**6), "damaged"),
    "an input of gigapixels in the end": (
        at("predictors", 0, "settings", "zoom", "largest_size", value=10**6),
        "damaged",
    ),
    "a path as a hash": (at("predictors", 0, "sha256", value="../../model.pth"), "damaged"),
    "a kept mask beyond the plane": (at("masks", 0, "kept", value={"box": [0, 10**9, 0, 9], "bits": ""}), "beyond"),
    "a kept mask of nothing": (at("masks", 0, "kept", value={"box": [5, 4, 0, 9], "bits": ""}), "beyond"),
    "a bomb": (at("masks", 0, "kept", value={"box": [0, 9, 0, 9], "bits": bomb()}), "damaged"),
    "bits of no code": (at("masks", 0, "kept", value={"box": [0, 9, 0, 9], "bits": "é"}), "damaged"),
    "more pixels than the image has": (at("painted", "pixels", value=10**12), "damaged"),
    "pixels that are cut": (at("painted", "labels", value=""), "damaged"),
    "an image without rows": (at("image", "shape", value=[40]), "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_damaged_and_hostile_records_are_refused(what: str) -> None:
    change, message = HOSTILE[what]
    with pytest.raises(InputError, match=message):
        decode_record(changed(change))


def test_painted_labels_are_not_negative() -> None:
    session = annotated()
    session.labels = ArrayLabels(-everything(session))
    with pytest.raises(InputError, match="whole numbers"):
        decode_record(json.loads(json.dumps(encode_record(record_of(session)))))


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"format": NaN}', "[]", "null", '{"format": "napari-fbrs click record"}', "\x00"]
)
def test_files_that_are_no_records_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "cells.clicks.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"cells.clicks.json"):
        read_record(path)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_record(tmp_path / "none.clicks.json")


@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (2, 0)])
@pytest.mark.parametrize("most", [1, 1000, 10**9])
def test_a_plane_is_hashed_in_strips(monkeypatch, axes, most):
    pixels = np.random.default_rng(0).integers(0, 9000, (12, 40, 50)).astype(">u2")
    index = PlaneIndex((7,), axes)
    where = index.select(slice(None), slice(None))
    monkeypatch.setattr(click_record, "LARGE", most)
    whole = hashlib.sha256(np.ascontiguousarray(pixels[where], "<u2").tobytes()).hexdigest()
    assert plane_digest(Image(pixels), index) == whole


def test_channels_that_differ_where_the_fingerprint_does_not_look():
    pixels = np.zeros((3, 600, 600), np.uint8)
    pixels[1, 1, 1] = 9
    image = Image(Composite([pixels[1], pixels[0]]))
    session = Session(image, DiscPredictor(), labels=ArrayLabels(np.zeros(image.shape, np.int32)))
    session.click(Click(8, 9))
    record = record_of(session, name="cells")
    again = shown_image(record, Image(pixels))
    np.testing.assert_array_equal(again.data.parts[0], pixels[1])


def test_levels_that_a_mask_was_read_from_are_those_it_is_replayed_from(monkeypatch):
    monkeypatch.setattr(image_module, "LARGE", 100)
    fine = np.random.default_rng(0).integers(0, 255, (40, 40)).astype(np.uint8)
    half, quarter = fine[::2, ::2], fine[::4, ::4]
    session = Session(Image(fine, coarser=[half]), DiscPredictor(), labels=ArrayLabels(np.zeros((40, 40), np.int32)))
    session.click(Click(8, 9))
    record = decode_record(encode_record(record_of(session, name="cells")))
    assert record.image.levels == ((20, 20),)
    more = Image(fine, coarser=[half, quarter])
    check_image(record, more.with_levels(record.image.levels))
    for other in (more, Image(fine)):
        with pytest.raises(InputError, match=r"is of an image with coarser levels of \(20, 20\)"):
            check_image(record, other)
        check_image(record, other, anyway=True)


def annotated_channels(image: Image) -> Record:
    session = Session(image, DiscPredictor(), labels=ArrayLabels(np.zeros(image.shape, np.int32)))
    place = Place(1, PlaneIndex((1,) * (image.ndim - 2)).resolved(image.ndim))
    if image.shape[1] == 1:
        place = Place(1, PlaneIndex((1, 0)).resolved(4))
    session.add(place, [Click(8, 9)], (0, 900, 0, 500))
    session.update(place)
    return decode_record(encode_record(record_of(session, name="cells")))


def test_the_channels_that_were_shown_are_in_the_record_and_found_again_in_the_file():
    pixels = np.random.default_rng(0).integers(0, 900, (3, 4, 20, 24)).astype(np.uint16)
    file = Image(pixels)
    for image in (
        Image(Channels(1, (2, 0)).of(pixels)),  # of an axis of channels
        Image(Composite([pixels[:, 2], pixels[:, 0]])),  # as napari splits a file into layers
    ):
        record = annotated_channels(image)
        assert record.image.channels == channels_of(image)
        assert record.masks[0].refinement.limits == (0, 900, 0, 500)
        again = shown_image(record, file)
        check_image(record, again)
        plane = record.masks[0].place.plane
        assert record.image.planes[plane] == plane_digest(again, plane)
        with pytest.raises(InputError, match=r"pixels|not all in this file"):
            check_image(record, shown_image(record, Image(pixels + 1)))
