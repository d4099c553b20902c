"""The judge of drawn shapes: it learns, goes on where it stopped, and lets pass as many as it shall."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
import torch
from small import LATENT_VOLUME, TEXTURED

from gan3d_core.errors import TrainingError
from gan3d_core.generators.coded import CodedGenerator, Codes
from gan3d_core.generators.latent_volume import LatentVolumeGenerator
from gan3d_core.generators.textured import TexturedGenerator
from training import train_judge
from training.train_judge import FIRST_SEED, SHOWN, Examples, JudgeRecipe, JudgeTrainer, gather

RECIPE = JudgeRecipe("judge", "chair", shapes=6, steps=40, batch=16, threads=1)


def make(cls: type[CodedGenerator] = LatentVolumeGenerator, **changes) -> CodedGenerator:
    torch.manual_seed(0)
    options = LATENT_VOLUME if cls is LatentVolumeGenerator else TEXTURED
    return cls(**{**options, **changes}).eval()


def examples(generator: CodedGenerator, count: int = 200) -> Examples:
    """Of two normal distributions that differ in a quarter of their entries."""
    order = torch.Generator().manual_seed(0)
    real, drawn = torch.randn((2, count, generator.geometry_code), generator=order).half()
    real[:, ::4] += 1.0
    return Examples(real, drawn, torch.arange(FIRST_SEED, FIRST_SEED + count))


@pytest.mark.parametrize("cls", [LatentVolumeGenerator, TexturedGenerator])
def test_a_judge_learns_what_tells_drawn_codes_from_real_ones(cls):
    trainer = JudgeTrainer(dataclasses.replace(RECIPE, passing=0.2), make(cls))
    trainer.examples = examples(trainer.generator, 400)
    right = [trainer.train_step()["right_pairs"] for _ in range(150)]
    # Known in advance: the difference of two such sums of k entries is normal, with mean k and variance 2 k.
    count = len(range(0, trainer.generator.geometry_code, 4))
    best = float(torch.distributions.Normal(0, 1).cdf(torch.tensor((count / 2) ** 0.5)))
    assert 0.8 * best < sum(right[-20:]) / 20 <= min(1.0, best + 0.05)
    judge = trainer.finished().judge
    held_out = trainer.examples.drawn[340:].float()
    passed = [doubt == 0 for doubt in judge.doubts(held_out)]
    assert sum(passed) / len(passed) == pytest.approx(0.2, abs=0.02)
    assert not judge.training


def test_the_extremes_are_of_what_was_held_out_best_first():
    trainer = JudgeTrainer(RECIPE, make())
    trainer.examples = examples(trainer.generator, 400)
    for _ in range(10):
        trainer.train_step()
    seeds = trainer.extremes()
    assert len(seeds) == 2 * SHOWN
    rows = seeds - FIRST_SEED
    assert int(rows.min()) >= 340
    odds = trainer.judge.eval()(trainer.examples.drawn[rows].float()).detach()
    assert torch.equal(odds, odds.sort(descending=True).values)


def test_a_judge_goes_on_where_it_stopped():
    whole, first, second = (JudgeTrainer(RECIPE, make()) for _ in range(3))
    whole.examples = first.examples = examples(whole.generator)
    for _ in range(6):
        whole.train_step()
    for _ in range(3):
        first.train_step()
    second.restore(first.state())
    torch.manual_seed(99)  # nothing hangs on what else draws
    for _ in range(3):
        second.train_step()
    assert second.step == 6
    assert all(torch.equal(a, b) for a, b in zip(whole.judge.parameters(), second.judge.parameters(), strict=True))


def stopped(generator: CodedGenerator, after: int) -> CodedGenerator:
    """The same, whose user stops it after so many shapes."""
    mend, calls = generator.mend, iter(range(after))

    def counted(codes: Codes) -> tuple[Codes, list[float]]:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return mend(codes)

    generator.mend = counted  # type: ignore[method-assign]
    return generator


def gathered(generator: CodedGenerator, part: Examples, recipe: JudgeRecipe = RECIPE) -> Examples:
    shapes = Codes(
        torch.randn((5, generator.geometry_code), generator=torch.Generator().manual_seed(1)), torch.zeros(5, 4)
    )
    kept: list[Examples] = []
    with contextlib.suppress(KeyboardInterrupt):
        gather(recipe, generator, shapes, kept.append, part)
    return kept[-1]


@pytest.mark.parametrize("after", [0, 3, 8])
def test_gathering_goes_on_where_it_was_stopped(after):
    """Of one part are all shapes of a generator without mending, so that each call makes one."""
    none = Examples.none(make().geometry_code)
    whole = gathered(make(), none)
    assert (len(whole.real), len(whole.drawn)) == (5, 6), "no more real ones than there are"
    assert whole.seeds.tolist() == list(range(FIRST_SEED, FIRST_SEED + 6))
    part = gathered(stopped(make(), after), none)
    assert (len(part.real), len(part.drawn)) == (min(after, 5), max(after - 5, 0))
    again = gathered(make(), part)
    for a, b in zip(dataclasses.astuple(again), dataclasses.astuple(whole), strict=True):
        assert torch.equal(a, b)


def test_gathered_codes_are_mended_standardised_and_of_what_was_whole():
    generator = make(rounds=1, encoder_width=8)
    generator.geometry_mapping.mean.fill_(0.5)
    generator.geometry_mapping.scale.fill_(2.0)
    plain = generator.mend
    broken = iter([0.3, 0.0] * 20)

    def every_other(codes: Codes):
        return plain(codes)[0], [next(broken)]

    generator.mend = every_other
    found = gathered(generator, Examples.none(generator.geometry_code), dataclasses.replace(RECIPE, shapes=3))
    assert (found.seeds - FIRST_SEED).tolist() == [0, 2, 4], "three real ones came before"
    z = torch.as_tensor(train_judge.latent.draw(int(found.seeds[1]), 12, "normal", RECIPE.truncation))[None]
    expected = (plain(generator.map(z))[0].geometry[0] - 0.5) / 2.0
    assert torch.allclose(found.drawn[1].float(), expected, atol=2e-3)


def test_a_generator_of_crumbs_is_refused():
    generator = make()
    generator.mend = lambda codes: (codes, [0.5])
    with pytest.raises(TrainingError, match="Of 60 drawn shapes 0 are of one part"):
        gathered(generator, Examples.none(generator.geometry_code))
