import json
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from gan3d_core import checkpoints, generators
from gan3d_core.checkpoints import CheckpointConfig, read, write_config
from gan3d_core.errors import CheckpointError

OPTIONS = {"latent_size": 8, "channels": [8, 4, 2]}


def make(folder, seed=0, weights=None, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    if weights is None:
        network = generators.build("threedgan", OPTIONS)
        generator = np.random.default_rng(seed)
        weights = {
            name: generator.uniform(0.1, 1, tensor.shape).astype(np.float32)
            for name, tensor in network.state_dict().items()
        }
    save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, folder / "weights.safetensors")
    settings = {
        "label": "Test", "category": "chair", "architecture": "threedgan", "options": OPTIONS, "latent_size": 8,
        "prior": "uniform", "size_m": 1.0, "weights_sha256": "",
    }  # fmt: skip
    write_config(folder, CheckpointConfig(**{**settings, **changes}))
    return folder


def edit(folder, **changes):
    path = folder / "config.json"
    data = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))


@pytest.fixture
def folder(tmp_path):
    return make(tmp_path / "good")


@pytest.fixture(autouse=True)
def no_other_checkpoints(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoints, "PRETRAINED", tmp_path / "nothing")
    monkeypatch.delenv("GAN3D_CHECKPOINTS", raising=False)


def test_read_verify_and_load(folder):
    checkpoint = read(folder)
    checkpoint.verify()
    assert checkpoint.id == "good"
    assert len(checkpoint.hash) == 16
    network = generators.load(checkpoint)
    assert network.latent_size == 8
    values = network.fields(np.zeros((2, 8), np.float32), 1.0)[1].values(32)
    assert values.shape == (32, 32, 32)
    assert np.isfinite(values).all()


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        read(tmp_path / "missing")


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
def test_a_file_that_is_missing(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        read(folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_weights(tmp_path, share):
    folder = tmp_path / "cut"
    if not folder.exists():
        make(folder)
        (tmp_path / "whole").write_bytes((folder / "weights.safetensors").read_bytes())
    data = (tmp_path / "whole").read_bytes()
    (folder / "weights.safetensors").write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match="truncated"):
        read(folder)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 8, b"\xff" * 64, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 4) + b"null"]
)
def test_weights_that_are_rubbish(folder, data):
    (folder / "weights.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError):
        read(folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 2**20), bit=st.integers(0, 7))
def test_one_flipped_bit_is_found(tmp_path, place, bit):
    folder = tmp_path / "bit"
    if not folder.exists():
        make(folder)
        (tmp_path / "whole").write_bytes((folder / "weights.safetensors").read_bytes())
    data = bytearray((tmp_path / "whole").read_bytes())
    data[place % len(data)] ^= 1 << bit
    (folder / "weights.safetensors").write_bytes(data)
    checkpoints._sha256.cache_clear()  # two states within one tick of the clock
    with pytest.raises(CheckpointError):
        generators.load(read(folder))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "other"},
        {"version": 2},
        {"version": None},
        {"colour": 1},
        {"label": None},
        {"label": 3},
        {"latent_size": "8"},
        {"latent_size": 0},
        {"latent_size": True},
        {"prior": "cauchy"},
        {"size_m": 0},
        {"size_m": -1},
        {"truncation": 2},
        {"resolution": 1000},
        {"options": []},
        {"textured": 1},
    ],
)
def test_configurations_that_are_refused(folder, changes):
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match="good"):
        read(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", '"gan3d-checkpoint"'])
def test_configurations_that_are_no_json_objects(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError):
        read(folder)


def test_a_configuration_that_is_no_text(folder):
    (folder / "config.json").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(CheckpointError):
        read(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "stylegan9"}, "stylegan9"),
        ({"options": {**OPTIONS, "depth": 3}}, "options"),
        ({"options": {"latent_size": 8, "channels": []}}, "options"),
        ({"latent_size": 9}, "latent size"),
        ({"options": {"latent_size": 8, "channels": [8, 4, 4]}}, "do not fit"),
        ({"options": {"latent_size": 8, "channels": [8, 4]}}, "do not fit"),
    ],
)
def test_weights_of_another_architecture(folder, changes, words):
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match=words):
        generators.load(read(folder))


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_loading_is_strict(tmp_path, change):
    network = generators.build("threedgan", OPTIONS)
    weights = {name: np.array(tensor) for name, tensor in network.state_dict().items()}
    if change == "missing":
        weights.pop(next(iter(weights)))
    else:
        weights["more"] = np.zeros(3, np.float32)
    with pytest.raises(CheckpointError, match="do not fit"):
        generators.load(read(make(tmp_path / "odd", weights=weights)))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../secret", "a/../../secret", "good/../../secret", "no such", "secret\0"]
)
def test_names_never_lead_out_of_the_search_path(tmp_path, name):
    make(tmp_path / "secret")
    root = tmp_path / "root"
    make(root / "good")
    with pytest.raises(CheckpointError):
        checkpoints.find(name, [root])


def test_find_by_name_and_path(tmp_path):
    folder = make(tmp_path / "root" / "good")
    assert checkpoints.find("good", [tmp_path / "root"]).path == folder
    assert checkpoints.find(str(folder)).path == folder
    with pytest.raises(CheckpointError) as caught:
        checkpoints.find("bad", [tmp_path / "root"])
    assert "good" in caught.value.hint


def test_first_match_wins_and_broken_ones_are_reported(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    make(first / "same", label="first")
    make(second / "same", seed=1, label="second")
    make(second / "best", rank=1)
    edit(make(second / "broken"), version=7)
    monkeypatch.setenv("GAN3D_CHECKPOINTS", str(first))
    found, broken = checkpoints.installed([second])
    assert [(c.id, c.config.label) for c in found] == [("best", "Test"), ("same", "first")]
    assert len(broken) == 1
    assert checkpoints.default_for("chair", [second]).id == "best"
    with pytest.raises(CheckpointError, match="sofa"):
        checkpoints.default_for("sofa", [second])
