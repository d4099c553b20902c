"""Image features: the real network on a few pictures, and weights that are refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gan3d_core.errors import CheckpointError
from training.metrics.features import ImageFeatures, efficientnet, load_features, load_strictly, read_weights
from training.metrics.frechet import frechet_distance
from training.metrics.inception import InceptionV3


def pictures(seed: int, size: int = 64) -> np.ndarray:
    """Two pictures with something in them: blocks of colour."""
    blocks = np.random.default_rng(seed).integers(0, 256, (2, 4, 4, 3))
    return blocks.repeat(size // 4, 1).repeat(size // 4, 2).astype(np.uint8)


def test_efficientnet():
    features = efficientnet()
    images = pictures(0)
    found = np.concatenate([features(np.concatenate([images, images, pictures(1)])), features(pictures(0, 128))])
    assert found.shape == (8, features.channels) == (8, 1280)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= 6).all()  # ReLU6
    # The same pictures again are the same to rounding, in any place of a batch; others are not.
    assert np.allclose(found[:2], found[2:4], atol=1e-4)
    assert frechet_distance(found[:2], found[2:4]) < 1e-4
    other = frechet_distance(found[:2], found[4:6])
    assert other > 1
    # Size hardly counts: pictures are brought to the network's.
    assert frechet_distance(found[:2], found[6:]) < 0.3 * other


def test_pixels_are_scaled_and_resized():
    features = ImageFeatures("mean", lambda x: x.mean(dim=(2, 3)), 8, 3, 0.5, 0.25)
    images = np.zeros((20, 4, 4, 3), np.uint8)
    images[:, :, :2, 0] = 255
    found = features(images)
    assert found.shape == (20, 3)
    assert found == pytest.approx(np.tile([0.0, -2.0, -2.0], (20, 1)), abs=1e-6)
    assert features(images[:0]).shape == (0, 3)
    for bad in (images.astype(np.float32), images[0], images[..., :2]):
        with pytest.raises(ValueError, match="uint8"):
            features(bad)


def test_inception_from_a_file(tmp_path):
    """Random weights, with a classifier that is not wanted, as the files that circulate have one."""
    torch.manual_seed(0)
    model = InceptionV3()
    # torchvision's network of 1,000 classes without its classifier.
    assert sum(parameter.numel() for parameter in model.parameters()) == 23_834_568 - 1000 * (2048 + 1)
    state = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    path = tmp_path / "inception.pth"
    torch.save({**old, "fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}, path)
    features = load_features(path)
    assert features.name == "Inception v3"
    found = features(pictures(2)[:1])
    assert found.shape == (1, 2048)
    assert np.isfinite(found).all()
    assert found.std() > 0


def test_bad_weights(tmp_path):
    small = torch.nn.Linear(2, 3)
    save_file({"weight": torch.zeros(3, 2)}, tmp_path / "half.safetensors")
    with pytest.raises(CheckpointError, match=r"do not fit it \(Missing key.*bias"):
        load_strictly(small, read_weights(tmp_path / "half.safetensors"), "it")
    with pytest.raises(CheckpointError, match=r"do not fit it \(size mismatch for weight"):
        load_strictly(small, {"weight": torch.zeros(3, 3), "bias": torch.zeros(3)}, "it")
    with pytest.raises(CheckpointError, match="do not fit Inception v3"):
        load_features(tmp_path / "half.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_features(tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_features(tmp_path)
    for name, content in (("rubbish.pth", b"rubbish"), ("rubbish.safetensors", b"rubbish"), ("empty.pth", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            load_features(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="something else"):
        load_features(tmp_path / "list.pth")


def test_weights_that_run_code_are_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"weight": Hostile()}))
    torch.save({"weight": Hostile()}, tmp_path / "archive.pth")
    for name in ("plain.pth", "archive.pth"):
        with pytest.raises(CheckpointError, match=name):
            load_features(tmp_path / name)
    assert not (tmp_path / "ran").exists()
