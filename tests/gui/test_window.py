"""What `pictures.py` saw in a real window. Run by `make test-gui`; needs GAN3D_GUI_RUNNER, see run.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools")]

pytestmark = pytest.mark.gui


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    import build_extension
    import run

    out = tmp_path_factory.mktemp("gui")
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "import conftest, pathlib\n"
        "conftest.write_ball_checkpoint(pathlib.Path(sys.argv[1]) / 'ball', category='chair')"
    )
    paths = [str(HERE.parent), str(HERE.parents[1])]
    subprocess.run([sys.executable, "-c", code, str(out / "checkpoints"), *paths], check=True)
    python = os.environ.get("GAN3D_PYTHON", sys.executable)
    return run.run("pictures.py", build_extension.build(out), out, python, str(out / "checkpoints"))


def test_a_click_makes_chairs_and_undo_takes_exactly_one_away(report):
    assert report["clicked"]
    assert report["error"] == ""
    assert len(report["made"]) == 4
    assert report["after_undo"] == report["made"][:-1]
    assert report["after_redo"] == report["made"]


def test_a_killed_worker_is_reported_and_the_next_click_works(report):
    assert report["killed"] == "worker_died"
    assert report["returned_at_once"]
    assert report["next_click"] == {"new": 1, "error": ""}


def test_the_preferences_test_the_worker(report):
    assert report["tested"] == "ready"
