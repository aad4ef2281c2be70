"""What is installed from a wheel, not what lies in the checkout."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder holding what a wheel built from the repository installs."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    with FileLock(tmp_path_factory.getbasetemp().parent / "wheel.lock"):  # all builds write to the repository's build/
        subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def run(unpacked: Path, code: str) -> str:
    """Run code that finds the package only in the unpacked wheel."""
    environment = os.environ | {"PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=unpacked, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_wheel_holds_model_card_manifest_and_samples(unpacked):
    for name in (
        "napari_fbrs/napari.yaml",
        "napari_fbrs/icon.svg",
        "napari_fbrs/py.typed",
        "napari_fbrs/weights/default.safetensors",
        "napari_fbrs/weights/MODEL_CARD.md",
        "napari_fbrs/samples/coins_clicks.csv",
        "napari_fbrs/annotation/click_record.schema.json",
    ):
        assert (unpacked / name).is_file(), name
    assert not (unpacked / "tests").exists()


def test_every_package_is_named(unpacked):
    # setup.cfg is read too: setuptools adds whatever an earlier build has left in build/ to a wheel.
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = set(setup["options"]["packages"].split())
    modules = {path.relative_to(ROOT) for path in (ROOT / "napari_fbrs").rglob("*.py")}
    assert named == {".".join(path.parent.parts) for path in modules} | {"napari_fbrs.weights"}
    assert not [path for path in modules if not (unpacked / path).is_file()]


def test_the_model_loads_from_the_wheel(unpacked):
    out = run(unpacked, "import napari_fbrs; print(napari_fbrs.__file__); print(napari_fbrs.load_model().fingerprint)")
    file, fingerprint = out.splitlines()
    assert Path(file).is_relative_to(unpacked)
    assert len(fingerprint) == 64


def test_npe2_finds_a_valid_plugin_in_the_wheel(unpacked):
    code = (
        "import sys; from npe2 import PluginManifest;"
        "manifests = [m for m in (r.manifest for r in PluginManifest.discover()) if m and m.name == 'napari-fbrs'];"
        "m = manifests[0]; m.validate_imports();"
        "c = m.contributions;"
        "print(len(c.widgets), len(c.sample_data), len(c.writers), list(c.menus))"
    )
    assert run(unpacked, code) == "2 3 7 ['napari/layers/segment', 'napari/layers/measure']"


def test_base_dependencies_hold_no_qt(unpacked):
    (metadata,) = unpacked.glob("*.dist-info/METADATA")
    required = [line for line in metadata.read_text().splitlines() if line.startswith("Requires-Dist")]
    base = [line.lower() for line in required if "extra ==" not in line]
    assert base
    assert not [line for line in base if "pyqt" in line or "pyside" in line or "napari[" in line]


def test_nothing_below_gui_loads_qt_or_napari(unpacked):
    code = (
        "import sys, napari_fbrs, napari_fbrs.cli, napari_fbrs.samples, napari_fbrs.evaluation.simulation;"
        "import napari_fbrs.export.command, napari_fbrs.export.layer_writers;"
        "print([n for n in ('napari', 'qtpy', 'PyQt6', 'magicgui') if n in sys.modules])"
    )
    assert run(unpacked, code) == "[]"
