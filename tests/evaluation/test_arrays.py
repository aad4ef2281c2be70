from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.arrays import LabelledArray
from napari_fbrs.evaluation.baselines import Voronoi
from napari_fbrs.evaluation.noc import evaluate
from napari_fbrs.evaluation.objects import Sample, sample_objects

LABELS = np.zeros((2, 3, 20, 30), dtype=np.uint16)
LABELS[0, 1, 4:16, 4:16] = 5
LABELS[1, 2, 4:16, 4:16] = 5
LABELS[1, 2, 4:16, 16:28] = 6


def test_an_object_is_a_label_in_a_plane():
    data = LabelledArray(LABELS.astype(float), LABELS)
    assert len(data) == 6
    assert sample_objects(data) == [Sample(1, 5), Sample(5, 5), Sample(5, 6)]
    assert (data.title(1), data.title(5)) == ("plane 0;1", "plane 1;2")
    np.testing.assert_array_equal(data.labels(5), LABELS[1, 2])
    assert data.plane(1).limits == (0, 6)  # of the whole image, not of this plane


def test_a_single_plane_and_colours():
    labels = LABELS[1, 2]
    data = LabelledArray(np.repeat(labels[..., None], 3, axis=2), labels, "mine", rgb=True)
    assert (len(data), data.title(0), data.plane(0).shape) == (1, "mine", (20, 30))


def test_what_does_not_fit_is_said():
    with pytest.raises(InputError, match=r"labels have shape \(20, 30\), the image \(2, 3, 20, 30\)"):
        LabelledArray(LABELS.astype(float), LABELS[0, 0])
    with pytest.raises(InputError, match="labels must be whole numbers, found float64"):
        LabelledArray(LABELS, LABELS.astype(float))


def test_the_fingerprint_is_of_labels_and_limits():
    other = LABELS.copy()
    other[0, 0, 0, 0] = 9
    data = [LabelledArray(LABELS, LABELS), LabelledArray(LABELS, LABELS, "again"), LabelledArray(LABELS, other)]
    prints = [one.fingerprint for one in [*data, LabelledArray(LABELS, LABELS, limits=(0, 9))]]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_evaluation_is_called_off():
    data = LabelledArray(LABELS, LABELS)
    answers = iter([False, True])
    runs = evaluate(Voronoi(), data, sample_objects(data), cancelled=lambda: next(answers))
    assert len(list(runs)) == 1
