"""`training.compare` on boxes: equal times, shared runs, going on, failures by name, the arithmetic of tables."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from box_dataset import QUARTERS, SMALL, write_boxes
from pages import read_page
from PIL import Image
from solids import sphere

from gan3d_core.errors import NotFiniteError, TrainingError
from training import compare
from training.comparison import judging
from training.comparison.plan import read_plan
from training.comparison.table import METRICS, cells, markdown
from training.configuration import read_toml
from training.evaluation import painted
from training.evaluation.painted import PaintedMesh
from training.gan_recipe import GanRecipe
from training.report import read_metrics
from training.train_gan import GanTrainer

PLANS = Path(compare.__file__).parent / "plans"
RECIPE = """
kind = "gan"
category = "chair"
architecture = "implicit"
discriminator = "volumetric"
resolution = 16
batch = 2
steps = 40
accuracy_gate = 1.0
generator_rate = 1e-5
threads = 1
[options]
latent_size = 4
width = 16
layers = [2, 2]
start_radius = 0.5
[discriminator_options]
channels = [4, 8]
normalisation = "none"
"""
PLAN = """
about = "Small ones."
set = ["prior=normal"]

[groups.critics]
about = "Before different critics."
[groups.critics.entries]
volumetric = { recipe = "base.toml" }
growing = { recipe = "base.toml", set = [
    "discriminator=growing", "discriminator_options={channels=[4,4,8]}", "growing=[8,16]", "growing_steps=[20]",
] }

[groups.objectives]
about = "By different objectives."
set = ["mirror=true"]
[groups.objectives.entries]
non-saturating = { recipe = "base.toml" }
hinge = { recipe = "base.toml", set = ["objective=hinge"] }
"""
COMPARE = compare.compare
COSTS = {"volumetric": 1.0, "growing": 2.0}


def test_runs_are_named_by_what_is_not_as_it_is_by_default(plan, tmp_path):
    """Else a field that comes later would have every comparison trained anew."""

    def named(settings: str) -> list[str]:
        (tmp_path / "base.toml").write_text(settings + RECIPE)
        (tmp_path / "boxes.toml").write_text(PLAN)
        return list(read_plan(tmp_path / "boxes.toml").runs)

    assert named("decay_steps = 0\n") == named("") == list(read_plan(plan).runs)
    assert set(named("decay_steps = 1\n")).isdisjoint(named(""))


class Time:
    """Seconds that pass by what steps cost, and by nothing else."""

    def __init__(self) -> None:
        self.now = 0.0
        self.made: list[tuple[str, str, int, int]] = []
        """Discriminator, objective, seed and resolution of every step."""

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write_boxes(tmp_path_factory.mktemp("data") / "boxes")


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    (folder / "base.toml").write_text(RECIPE)
    (folder / "boxes.toml").write_text(PLAN)
    return folder / "boxes.toml"


@pytest.fixture(scope="module", autouse=True)
def _small():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(compare, "load_features", lambda inception, device: QUARTERS)
        for name, value in SMALL:
            monkeypatch.setattr(painted, name, value)
        monkeypatch.setattr(judging, "PIXELS", 24)
        yield


@pytest.fixture
def passing(monkeypatch) -> Time:
    """Steps that cost what `COSTS` says, in counted seconds."""
    spent, step = Time(), GanTrainer.train_step

    def costly(self: GanTrainer, data: object) -> dict[str, float]:
        report = step(self, data)
        recipe = self.recipe
        spent.now += COSTS[recipe.discriminator]
        spent.made.append((recipe.discriminator, recipe.objective, recipe.seed, self.bridge.resolution))
        return report

    monkeypatch.setattr(GanTrainer, "train_step", costly)
    return spent


def carry_out(plan: Path, dataset: Path, out: Path, seconds: float, seeds: int, clock: Time) -> dict:
    return COMPARE(plan, dataset, out, seconds / 60, seeds, count=8, views=2, clock=clock)


def entries(figures: dict) -> dict[str, dict]:
    return {name: line for group in figures["groups"].values() for name, line in group["entries"].items()}


def test_every_run_has_the_same_time_and_equal_ones_are_trained_once(plan, dataset, tmp_path, passing):
    figures = carry_out(plan, dataset, tmp_path / "out", 8, 2, passing)
    lines = entries(figures)
    assert {line["seconds"] for line in lines.values()} == {8.0}
    assert {name: line["steps"] for name, line in lines.items()} == {
        "volumetric": 8, "growing": 4, "non-saturating": 8, "hinge": 8,
    }  # fmt: skip
    # `mirror` is true by default, so the first entries of both groups are one recipe.
    assert lines["volumetric"]["run"] == lines["non-saturating"]["run"]
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 3 * 2
    assert sum(made[:3] == ("volumetric", "non-saturating", 1) for made in passing.made) == 8
    # Seed by seed: every entry has its first run before any has its second.
    seeds = [made[2] for made in passing.made]
    assert seeds == sorted(seeds)
    # Another seed is another run.
    by_seed = lines["hinge"]["by_seed"]
    assert set(by_seed) == {"0", "1"}
    weights = [
        torch.load(tmp_path / "out" / "runs" / f"{lines['hinge']['run']}-{seed}" / "snapshot.pt", weights_only=True)
        for seed in (0, 1)
    ]
    name = next(iter(weights[0]["generator"]))
    assert not torch.equal(weights[0]["generator"][name], weights[1]["generator"][name])


def test_growing_is_stretched_over_the_time(plan, dataset, tmp_path, passing):
    """20 of the recipe's 40 steps are at 8³: so is half of the time, whatever the number of steps; and more time later
    makes nothing shrink."""
    carry_out(plan, dataset, tmp_path / "out", 16, 1, passing)
    sizes = [made[3] for made in passing.made if made[0] == "growing"]
    assert sizes == [8] * 4 + [16] * 4
    carry_out(plan, dataset, tmp_path / "out", 48, 1, passing)
    assert [made[3] for made in passing.made if made[0] == "growing"][8:] == [16] * 16


def test_more_minutes_go_on_and_nothing_is_done_twice(plan, dataset, tmp_path, passing):
    first = carry_out(plan, dataset, tmp_path / "halves", 4, 1, passing)
    made = len(passing.made)
    assert carry_out(plan, dataset, tmp_path / "halves", 4, 1, passing) == first
    assert len(passing.made) == made
    halves = entries(carry_out(plan, dataset, tmp_path / "halves", 8, 1, passing))
    # Only the further half is made, and it leads where one sitting leads.
    assert len(passing.made) == made * 2
    whole = entries(carry_out(plan, dataset, tmp_path / "whole", 8, 1, passing))
    assert halves["hinge"] == whole["hinge"]
    assert halves["volumetric"]["by_seed"] == whole["volumetric"]["by_seed"]
    with pytest.raises(TrainingError, match="more than"):
        carry_out(plan, dataset, tmp_path / "whole", 4, 1, passing)


def test_stopped_by_the_system_it_goes_on(plan, dataset, tmp_path, passing, monkeypatch, capsys):
    monkeypatch.setattr(compare, "compare", lambda *given: stop_after(6, given))

    def stop_after(count: int, given: tuple) -> dict:
        step = GanTrainer.train_step

        def stopping(self: GanTrainer, data: object) -> dict[str, float]:
            if len(passing.made) == count:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(self, data)

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(GanTrainer, "train_step", stopping)
            return COMPARE(*given[:-1], device=given[-1], clock=passing)

    arguments = [str(plan), str(dataset), str(tmp_path / "out"), "--minutes", str(8 / 60), "--seeds", "1"]
    arguments += ["--count", "8", "--device", "cpu"]
    handler = signal.getsignal(signal.SIGTERM)
    assert compare.main(arguments) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == handler
    lines = entries(carry_out(plan, dataset, tmp_path / "out", 8, 1, passing))
    assert {line["seconds"] for line in lines.values()} == {8.0}
    assert len(passing.made) == 8 + 4 + 8


def test_what_fails_is_named_with_its_reason(plan, dataset, tmp_path, passing, monkeypatch):
    step = GanTrainer.train_step

    def failing(self: GanTrainer, data: object) -> dict[str, float]:
        if self.recipe.objective == "hinge" and self.recipe.seed == 1 and self.step == 3:
            raise NotFiniteError("critic_loss is not a number at step 3.")
        if self.recipe.discriminator == "growing" and self.step == 1:
            raise RuntimeError("out of cheese")
        return step(self, data)

    with pytest.MonkeyPatch.context() as inner:
        inner.setattr(GanTrainer, "train_step", failing)
        figures = carry_out(plan, dataset, tmp_path / "out", 4, 2, passing)
    lines = entries(figures)
    assert lines["hinge"]["troubles"] == [
        "seed 1 failed: critic_loss is not a number at step 3.",
        "seed 1 not a number from step 3",
    ]
    assert (lines["hinge"]["runs"], lines["hinge"]["judged"]) == (2, 1)
    assert lines["growing"]["troubles"] == [f"seed {seed} failed: RuntimeError: out of cheese" for seed in (0, 1)]
    assert lines["growing"]["samples"] == {}
    assert lines["volumetric"]["judged"] == 2
    # Where one run is left there is a figure, and no spread.
    assert "±" in " ".join(cells("volumetric", lines["volumetric"]))
    assert "±" not in " ".join(cells("hinge", lines["hinge"]))
    for name in ("comparison.md", "comparison.html"):
        text = (tmp_path / "out" / name).read_text("utf-8")
        assert "out of cheese" in text
        assert "1 of 2" in text
    # It is not tried again while its folder is there, and is afterwards.
    made = len(passing.made)
    carry_out(plan, dataset, tmp_path / "out", 4, 2, passing)
    assert len(passing.made) == made
    shutil.rmtree(tmp_path / "out" / "runs" / f"{lines['growing']['run']}-0")
    mended = entries(carry_out(plan, dataset, tmp_path / "out", 4, 2, passing))
    assert mended["growing"]["judged"] == 1


def test_tables_are_means_and_spreads_of_the_runs(plan, dataset, tmp_path, passing):
    figures = carry_out(plan, dataset, tmp_path / "out", 4, 3, passing)
    lines, nna = entries(figures), METRICS[0]
    for line in lines.values():
        for key, value in line["samples"].items():
            of_runs = [one[key] for one in line["by_seed"].values()]
            assert len(of_runs) == 3
            assert value["mean"] == pytest.approx(np.mean(of_runs), abs=1e-6)
            assert value["std"] == pytest.approx(np.std(of_runs), abs=1e-6)
        assert line["seconds_a_step"] == pytest.approx(line["seconds"] / line["steps"], rel=0.01)
    floor = figures["floor_training_set"]
    assert floor["whole"]["mean"] == 1.0  # boxes are in one piece
    assert floor["empty"]["mean"] == 0.0
    text = markdown(figures)
    assert text.count("| floor: training shapes |") == 2
    assert nna.text(lines["hinge"]["samples"]["nna"]) in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == figures
    page = read_page((tmp_path / "out" / "comparison.html").read_text("utf-8"))
    assert page.rows == 2 * (1 + 2 + 1) + (1 + 4)
    assert page.pictures == 2
    assert nna.text(lines["hinge"]["samples"]["nna"]) in page.text
    with Image.open(tmp_path / "out" / "objectives.png") as sheet:
        assert sheet.size == (24 * judging.SHOWN, (24 + 14) * 3)


def test_one_piece(dataset):
    """Loose bits are counted by volume, and a hollow's wall is no part."""

    def joined(*parts: tuple[float, float, bool]) -> PaintedMesh:
        vertices, faces, count = [], [], 0
        for radius, shift, flipped in parts:
            v, f = sphere(radius)
            vertices.append(v + np.float32([shift, 0, 0]))
            faces.append((f[:, ::-1] if flipped else f) + count)
            count += len(v)
        return PaintedMesh(np.concatenate(vertices).astype(np.float32), np.concatenate(faces).astype(np.int32), None)

    ball, wall = (0.5, 0.0, False), (0.3, 0.0, True)
    assert joined(ball).whole()
    assert joined(ball, wall).whole()
    assert joined(ball, wall).loose_share() == 0
    assert joined(ball, (0.1, 0.8, False)).whole()  # 0.8 % of the volume
    assert joined(ball, (0.2, 0.8, False)).loose_share() == pytest.approx(8 / 133, abs=0.005)
    assert not joined(ball, (0.2, 0.8, False)).whole()


def test_bad_plans_and_folders(plan, dataset, tmp_path, passing, capsys):
    def plan_of(text: str) -> Path:
        path = tmp_path / "plan.toml"
        path.write_text(text)
        (tmp_path / "base.toml").write_text(RECIPE)
        return path

    entry = "[groups.g]\n[groups.g.entries]\na = { recipe = 'base.toml', set = [SET] }\n"
    for text, match in (
        ("about = 1\n]", "no valid TOML"),
        ("groups = 3", "no tables under 'groups'"),
        ("colour = 1\n" + entry, "unknown keys: colour"),
        (entry.replace("base", "nothing"), "Entry 'a' of 'g': There is no recipe"),
        (entry.replace("SET", "'kind=codes'"), "is of kind 'codes'"),
        (entry.replace("SET", "'rate=1'"), "Entry 'a' of 'g': The recipe has unknown fields: rate"),
        (entry.replace("SET", "'category=\"chair,lamp\"'"), "of one category"),
        (entry.replace("[SET]", "3"), "no list of strings"),
        (entry.replace("recipe", "recipes"), "unknown keys: recipes"),
    ):
        with pytest.raises(TrainingError, match=match):
            read_plan(plan_of(text.replace("[SET]", "[]")))
    with pytest.raises(TrainingError, match="cannot be read"):
        read_plan(tmp_path / "none.toml")
    # Networks that do not fit are found before anything is trained.
    with pytest.raises(TrainingError, match=r"Entry 'a': VolumetricDiscriminator works at 16"):
        carry_out(plan_of(entry.replace("SET", "'resolution=32'")), dataset, tmp_path / "out", 4, 1, passing)
    assert not (tmp_path / "out").exists()
    with pytest.raises(TrainingError, match="no comparison"):
        carry_out(plan, dataset, tmp_path, 4, 1, passing)
    compare._open(tmp_path / "there", {"dataset": "elsewhere", "device": "cpu", "minutes": 1})
    with pytest.raises(TrainingError, match="another dataset"):
        carry_out(plan, dataset, tmp_path / "there", 60, 1, passing)
    assert not passing.made
    assert compare.main([str(tmp_path / "none.toml"), str(dataset), str(tmp_path / "new")]) == 1
    assert "cannot be read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        compare.main([str(plan), str(dataset), str(tmp_path / "new"), "--seeds", "0"])


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_plans_are_valid(path):
    """Every entry resolves and its networks fit; what two groups share is trained once."""
    plan = read_plan(path)
    for entry in plan.runs.values():
        GanTrainer(entry.resolved, "cpu")
    count = sum(len(group.entries) for group in plan.groups)
    assert 1 < len(plan.runs) < count
    sizes = {(entry.resolved.batch, entry.resolved.resolution) for entry in plan.runs.values()}
    assert len(sizes) == 1


def test_a_budget_is_of_steps_alone(plan, dataset, tmp_path, passing):
    """The run's own files know the seconds, and the recipe is what `training.train` would go on with."""
    figures = carry_out(plan, dataset, tmp_path / "out", 4, 1, passing)
    run = tmp_path / "out" / "runs" / f"{entries(figures)['hinge']['run']}-0"
    state = torch.load(run / "snapshot.pt", weights_only=True)
    assert (state["step"], state["seconds"]) == (4, 4.0)
    recipe = json.loads((run / "recipe.json").read_text())
    assert GanRecipe(**recipe).objective == "hinge"
    assert {**recipe, **read_toml(str(plan.parent / "base.toml"))}["options"] == recipe["options"]
    assert read_metrics(run)[0][-1]["step"] == 4
