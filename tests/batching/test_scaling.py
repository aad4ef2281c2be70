"""What the benchmark of batches tells."""

from __future__ import annotations

from napari_fbrs.batching.scaling import Measured, table, write_images


def test_the_fastest_of_each_is_compared():
    results = frozenset({("a.tif", "1")})
    runs = [Measured(1, 20, 3, 18, results), Measured(2, 16, 3, 20, results), Measured(1, 24, 3, 18, results),
            Measured(2, 10, 4, 20, results)]  # fmt: skip
    first, _, one, two, last = table(runs, 8)
    assert first.startswith("8 images")
    assert first.endswith("fastest of 2 runs each")
    assert one.split() == ["1", "20.0", "1.00", "18.0", "0.90", "1.00", "3.0", "s"]
    assert two.split() == ["2", "10.0", "2.00", "20.0", "2.00", "1.80", "4.0", "s"]
    assert last == "results: the same, bit for bit"
    assert table([*runs, Measured(2, 9, 4, 18, frozenset())], 8)[-1] == "results: NOT the same"


def test_images_have_clicks_and_differ(tmp_path):
    folder = write_images(tmp_path / "images", 2)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(files) == ["0000.csv", "0000.png", "0001.csv", "0001.png"]
    assert files["0000.png"] != files["0001.png"]
