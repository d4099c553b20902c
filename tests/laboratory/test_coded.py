"""What all generators share that decode codes: which code decides what, classes, mending, palettes, fields."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import LATENT_VOLUME, TEXTURED

from gan3d_core.drawing import loose_share
from gan3d_core.field import lattice
from gan3d_core.generators.coded import DECIDED, ENCODED, GRAIN, TRUNCATION, CodedGenerator, Codes, Palette
from gan3d_core.generators.latent_volume import LatentVolumeGenerator
from gan3d_core.generators.textured import TexturedGenerator
from gan3d_core.generators.volume_encoder import space_to_depth

KINDS: dict[str, tuple[type[CodedGenerator], dict]] = {
    "textured": (TexturedGenerator, TEXTURED),
    "latent_volume": (LatentVolumeGenerator, LATENT_VOLUME),
}
each = pytest.mark.parametrize("kind", KINDS)


def make(kind: str, **changes) -> CodedGenerator:
    torch.manual_seed(0)
    cls, options = KINDS[kind]
    return cls(**{**options, **changes}).eval()


def draw(count: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn((count, 12), generator=torch.Generator().manual_seed(seed))


POINTS = torch.rand((2, 50, 3), generator=torch.Generator().manual_seed(1)) * 1.8 - 0.9


@each
@torch.no_grad()
def test_another_texture_is_the_same_shape(kind):
    generator, z, other = make(kind), draw(), draw(seed=1)
    swapped = torch.cat([z[:, :8], other[:, 8:]], 1)
    a, b = generator(z), generator(swapped)
    assert torch.equal(generator.distance(a, POINTS), generator.distance(b, POINTS))
    assert torch.equal(generator.size_m(a.codes), generator.size_m(b.codes))
    assert not torch.allclose(generator.material(a, POINTS), generator.material(b, POINTS), atol=1e-4)
    other_shape = generator(torch.cat([other[:, :8], z[:, 8:]], 1))
    assert not torch.allclose(generator.distance(a, POINTS), generator.distance(other_shape, POINTS), atol=1e-6)


@each
@torch.no_grad()
def test_classes_are_heard_and_class_zero_is_the_default(kind):
    generator, z = make(kind, classes=3), draw()
    codes = [generator.map(z, torch.full((2,), label)).geometry for label in range(3)]
    assert torch.equal(generator.map(z).geometry, codes[0])
    assert not torch.allclose(codes[0], codes[1], atol=1e-5)
    assert not torch.allclose(codes[1], codes[2], atol=1e-5)


@each
@torch.no_grad()
def test_fields_are_the_network_and_symmetric_ones_mirror(kind):
    for symmetric in (True, False):
        generator = make(kind, symmetric=symmetric)
        z = draw(1)
        (field,) = generator.fields(z.numpy(), 1.0)
        values = field.values(16)
        centre = torch.tensor([[[1 / 16, 3 / 16, -5 / 16]]])
        assert values[8, 9, 5] == pytest.approx(float(generator.distance(generator(z), centre)), abs=1e-6)
        assert np.array_equal(values, values[::-1]) == symmetric
        materials = field.materials(POINTS[0].numpy())
        assert materials.base_color.shape == (50, 3)
        assert ((materials.base_color >= 0) & (materials.base_color <= 1)).all()
        assert field.size_m == pytest.approx(float(generator.size_m(generator.map(z))), rel=1e-5)


@each
def test_whitening_undoes_the_scale_of_codes(kind):
    generator = make(kind)
    generator.geometry_mapping.mean.fill_(3.0)
    generator.geometry_mapping.scale.fill_(2.0)
    codes = generator.map(draw())
    plain = generator.geometry_mapping.layers(draw()[:, :8])
    assert torch.allclose(generator.geometry_mapping.whiten(codes.geometry), plain, atol=1e-5)
    assert isinstance(codes[:1], Codes)
    assert len(codes[:1]) == 1


@each
@torch.no_grad()
@pytest.mark.parametrize("symmetric", [True, False])
def test_mending_is_the_round_trip_through_the_encoder(kind, symmetric):
    """Decoded on the whole lattice, encoded, twice; the surface's code stays, and the field is the mended one."""
    generator = make(kind, symmetric=symmetric, rounds=2, encoder_width=8)
    codes = generator.map(draw())
    expected = codes.geometry
    points = torch.as_tensor(lattice(ENCODED)).expand(2, -1, -1)
    for _ in range(2):
        planes = generator.synthesise(Codes(expected, codes.texture))
        volume = generator.distance(planes, points).reshape(2, ENCODED, ENCODED, ENCODED) / TRUNCATION
        seen = volume[:, ENCODED // 2 :] if symmetric else volume
        expected = generator.encoder(space_to_depth(seen)).chunk(2, 1)[0]
    mended, loose = generator.mend(codes)
    before = [loose_share(field.values(ENCODED)) for field in generator.decode(codes)]
    assert loose == pytest.approx(before)
    assert [field.loose_before for field in generator.fields(draw().numpy(), 1.0)] == pytest.approx(before)
    assert torch.allclose(mended.geometry, expected, atol=1e-4)
    assert not torch.allclose(mended.geometry, codes.geometry, atol=1e-2)
    assert torch.equal(mended.texture, codes.texture)
    (field, _) = generator.fields(draw().numpy(), 1.0)
    (other, _) = generator.decode(mended)
    assert np.allclose(field.values(16), other.values(16), atol=1e-6)
    assert field.size_m == pytest.approx(other.size_m)


@each
def test_nothing_is_mended_without_rounds(kind):
    generator = make(kind)
    codes = generator.map(draw())
    assert generator.mend(codes) == (codes, [0.0, 0.0])
    assert all(field.loose_before == 0 for field in generator.decode(codes))
    assert not [name for name in generator.state_dict() if name.startswith("encoder")]
    with pytest.raises(ValueError, match="negative"):
        make(kind, rounds=-1)


@each
@torch.no_grad()
def test_a_judge_doubts_what_stays_below_its_bar_after_mending(kind):
    generator = make(kind, rounds=1, encoder_width=8, judged=True)
    mended, _ = generator.mend(generator.map(draw(6)))
    odds = generator.judge(generator.geometry_mapping.whiten(mended.geometry))
    generator.judge.bar.fill_(float(odds.median()))
    expected = (generator.judge.bar - odds).clamp_min(0)
    assert (expected == 0).sum() == 4, "the median of six is the third"
    assert [field.doubt for field in generator.fields(draw(6).numpy(), 1.0)] == pytest.approx(
        expected.tolist(), abs=1e-6
    )
    assert make(kind).doubts(mended) == [0.0] * 6
    assert not [name for name in make(kind).state_dict() if name.startswith("judge")]


@torch.no_grad()
def test_a_palette_mixes_its_materials_and_decides_when_asked():
    torch.manual_seed(0)
    palette = Palette(4, 3)
    codes, logarithms = torch.randn(2, 4), torch.randn(2, 50, 3)
    own = torch.sigmoid(palette.layers(codes)).reshape(2, 3, 5)
    plain = torch.cat([logarithms, torch.zeros(2, 50, 5)], 2)
    mixed, shares = palette(codes, plain)
    weights = logarithms.exp() / logarithms.exp().sum(2, keepdim=True)
    assert torch.allclose(shares, weights, atol=1e-6)
    assert torch.allclose(mixed, torch.einsum("npk,nkc->npc", weights, own), atol=1e-6)
    decided, _ = palette(codes, plain, 1e4)
    largest = logarithms.argmax(2)
    assert torch.allclose(decided, own[torch.arange(2)[:, None], largest], atol=1e-5)
    grainy, _ = palette(codes, torch.cat([logarithms, 100 * torch.randn(2, 50, 5)], 2))
    assert float((grainy - mixed).abs().max()) <= GRAIN + 1e-6
    assert float(grainy.min()) >= 0
    assert float(grainy.max()) <= 1


@each
@torch.no_grad()
def test_textures_are_more_decided_than_what_is_learned_from(kind):
    generator = make(kind, palette=3)
    planes = generator(draw(1))
    materials, shares = generator.mixture(planes, POINTS[:1])
    assert torch.equal(materials, generator.material(planes, POINTS[:1]))
    assert torch.allclose(shares.sum(2), torch.ones(1, 50))
    field = generator.fields(draw(1).numpy(), 1.0)[0]
    found = field.materials(POINTS[0].numpy())
    decided = generator.material(planes, POINTS[:1], DECIDED)[0].numpy()
    assert np.allclose(np.c_[found.base_color, found.roughness, found.metallic], decided, atol=1e-6)
    assert not np.allclose(decided, materials[0], atol=1e-3)
    assert make(kind).mixture(make(kind)(draw(1)), POINTS[:1])[1] is None
    with pytest.raises(ValueError, match="negative"):
        make(kind, palette=-1)


@torch.no_grad()
def test_mottling_varies_colour_and_nothing_else():
    """By the standard deviation that the palette says, around the mixture, and only where a palette is mottled."""
    generator = make("latent_volume", palette=3, mottled=True)
    points = torch.rand((1, 60_000, 3), generator=torch.Generator().manual_seed(2)) * 1.6 - 0.8
    planes = generator(draw(1))
    generator.palette.mottle[-1].bias.fill_(1.0)
    mixed, shares = generator.mixture(planes, points)
    amount = generator.palette.mottling(planes.codes.texture, shares)
    found = generator.material(planes, points)
    assert torch.equal(found[..., 3:], mixed[..., 3:])
    inside = (mixed[..., :3] + 4 * amount[..., None] < 1).all(-1) & (mixed[..., :3] - 4 * amount[..., None] > 0).all(-1)
    change = ((found - mixed)[..., :3] / amount[..., None])[inside]
    assert inside.float().mean() > 0.02
    assert torch.allclose(change[:, 0], change[:, 1], atol=1e-4), "lighter and darker, of one hue"
    assert float(change.mean()) == pytest.approx(0, abs=0.12)
    assert float(change.std()) == pytest.approx(1, abs=0.12)
    plain = make("latent_volume", palette=3)
    assert torch.equal(plain.material(plain(draw(1)), points), plain.mixture(plain(draw(1)), points)[0])
    with pytest.raises(ValueError, match="there must be a palette"):
        make("latent_volume", mottled=True)


def test_how_much_a_material_is_mottled_can_be_learned():
    torch.manual_seed(0)
    palette = Palette(4, 2, mottled=True)
    codes, shares = torch.randn(8, 4), torch.eye(2)[torch.arange(40) % 2].expand(8, 40, 2)
    wanted = torch.where(codes[:, :1] > 0, 0.1, 0.01) * shares[..., 0] + 0.05 * shares[..., 1]
    optimiser = torch.optim.Adam(palette.parameters(), 1e-2)
    for _ in range(400):
        loss = (palette.mottling(codes, shares) - wanted).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.004
