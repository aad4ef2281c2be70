from __future__ import annotations

import json
from dataclasses import replace

import pytest

from napari_fbrs.evaluation.latency.measure import NETWORK, NO_PASS, PUBLISHED, SHIPPED, Row, Stages
from napari_fbrs.evaluation.latency.report import DECODE, ENCODE, FIRST, Report, targets


def report_of(*rows: Row, **first: list[float]) -> Report:
    names = {"first": FIRST, "encode": ENCODE, "decode": DECODE}
    firsts = {"coin": {names[name]: seconds for name, seconds in first.items()}} if first else {}
    return Report({"threads": 1}, rows=list(rows), firsts=firsts)


def met(report: Report) -> dict[str, tuple[float, bool | None]]:
    return {target.name: (target.spread.median, target.met) for target in targets(report)}


def test_ratios_against_goals():
    report = report_of(
        Row("coin", "RGB-BRS", 2, (2.0, 4.0)),
        Row("coin", "RGB-BRS", 5, (9.0,)),  # nothing to compare it with
        Row("coin", PUBLISHED + NO_PASS, 2, (0.4, 0.4)),
        Row("coin", SHIPPED + NO_PASS, 2, (0.1, 0.1)),
        Row("coin", SHIPPED, 2, (0.36,)),
        Row("coin", NETWORK, 2, (0.3,)),
        Row("coin", SHIPPED, 10, (9.9,)),  # beyond the limit
        Row("coin", NETWORK, 10, (0.3,)),
        first=[0.5],
        encode=[60.0],
        decode=[0.4],
    )
    found = met(report)
    assert found["RGB-BRS / f-BRS-B beyond the limit"] == (pytest.approx(30), True)
    assert found["published way / f-BRS-B beyond the limit"] == (pytest.approx(4), False)
    assert found["f-BRS-B within the limit / network alone"] == (pytest.approx(1.2), True)
    assert found["SAM image encoding / first mask"] == (pytest.approx(120), True)
    assert found["later click / SAM prompt decoding"] == (pytest.approx((0.9 + 9.9 / 0.4) / 2), False)


def test_masks_are_compared_where_both_have_converged():
    rows = [Row("coin", PUBLISHED, count, (1.0,), unmet=int(count == 3)) for count in (2, 3, 4, 5)]
    ious = {2: 1.0, 3: 0.1, 4: 0.2, 5: 0.99}
    rows += [Row("coin", SHIPPED, count, (1.0,), unmet=int(count == 4), agreement=iou) for count, iou in ious.items()]
    assert met(report_of(*rows))["IoU of the masks, all clicks met by both"] == (pytest.approx(0.995), True)
    rows = [replace(row, converged=row.count != 2 or row.what == SHIPPED) for row in rows]
    (squares,) = (target for target in targets(report_of(*rows)) if target.name.startswith("IoU, their squares"))
    assert (squares.spread.median, squares.figures) == (pytest.approx(0.99), 1)


def test_without_a_sam_nothing_is_said_of_it():
    found = met(report_of(Row("coin", SHIPPED, 2, (0.1,)), first=[0.5]))
    assert found["SAM image encoding / first mask"][1] is None
    assert "not measured" in report_of(first=[0.5]).text()


def test_the_table_and_the_json():
    report = report_of(
        Row("coin", SHIPPED, 2, (0.1, 0.2, 0.3), evaluations=7), Row("coin", SHIPPED, 10, (0.05,)), first=[1.0]
    )
    stages = Stages(cache={"hits": 3, "misses": 1, "bytes": 2_000_000, "budget": 4_000_000})
    stages.add("embed", 0.02)
    report.stages["coin"] = stages
    report.peaks = {SHIPPED: 12_000_000, "other": None}
    text = report.text()
    line = next(line for line in text.splitlines() if line.startswith(SHIPPED))
    assert line.split()[-3:] == ["200", "(7)", "50"]
    assert "3 of 4 found (75 %), 2 of 4 MB" in text
    assert "embed 20" in text
    record = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert record["clicks"][0]["seconds"] == [0.1, 0.2, 0.3]
    assert record["peak bytes"] == {SHIPPED: 12_000_000, "other": None}
    assert record["targets"][0]["met"] is None
