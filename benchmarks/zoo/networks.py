"""The networks of the zoo: 50 of torchvision and timm, and blocks that pruners stumble over."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

TORCHVISION = (
    "resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0",
    "mnasnet0_5", "squeezenet1_1", "shufflenet_v2_x0_5", "densenet121", "googlenet", "vgg11_bn", "regnet_y_400mf",
    "resnext50_32x4d", "convnext_tiny", "vit_b_32", "swin_t", "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large", "ssdlite320_mobilenet_v3_large",
)  # fmt: skip
TIMM = (
    "mobilenetv4_conv_small", "mobilenetv3_small_100", "efficientnet_lite0", "tf_efficientnetv2_b0", "ghostnet_100",
    "ghostnetv2_100", "mobileone_s0", "repvgg_a0", "repvit_m1", "fastvit_t8", "edgenext_xx_small", "mobilevit_xxs",
    "mobilevitv2_050", "efficientformer_l1", "efficientvit_b0", "tinynet_e", "lcnet_050", "hardcorenas_a", "mixnet_s",
    "res2net50_26w_4s", "hrnet_w18_small", "dla34", "cspresnet50", "vovnet39a", "deit_tiny_patch16_224", "levit_128s",
    "convnextv2_atto", "starnet_s1", "rexnet_100", "mnasnet_small",
)  # fmt: skip
BLOCKS = ("block_c2f", "block_channel_shuffle", "block_fused_qkv", "block_window_attention")
NAMES = TORCHVISION + TIMM + BLOCKS
WITH_ATTENTION = (
    "vit_b_32", "swin_t", "repvit_m1", "fastvit_t8", "edgenext_xx_small", "mobilevit_xxs", "mobilevitv2_050",
    "efficientformer_l1", "efficientvit_b0", "deit_tiny_patch16_224", "levit_128s", "block_fused_qkv",
    "block_window_attention",
)  # fmt: skip


class RawDetector(nn.Module):
    """A torchvision detector up to its raw outputs: what follows (NMS) has no weights, and no fixed shape."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = detector.backbone, detector.head

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return box offsets and class scores of all anchors."""
        found: dict[str, Tensor] = self.head(list(self.backbone(x).values()))
        return found


def build(name: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """Build a network with random weights, statistics and, where they are zero, heads.

    Args:
        name: One of `NAMES`.
        seed: Of everything random.

    Returns:
        The network in eval mode, and an example input.
    """
    torch.manual_seed(seed)
    kind = _block if name in BLOCKS else _torchvision if name in TORCHVISION else _timm
    model, size = kind(name)
    _randomise(model)
    return model.eval(), torch.randn(1, 3, size, size)


def _torchvision(name: str) -> tuple[nn.Module, int]:
    import torchvision

    options: dict[str, object] = {"weights": None}
    if name.startswith(("deeplabv3", "lraspp", "ssdlite")):
        options["weights_backbone"] = None
    if name == "googlenet":
        options |= {"init_weights": True, "aux_logits": False}
    make: Callable[..., nn.Module] = torchvision.models.get_model
    model = make(name, **options)
    return (RawDetector(model), 320) if name.startswith("ssdlite") else (model, 224)


def _timm(name: str) -> tuple[nn.Module, int]:
    import timm

    model = timm.create_model(name, pretrained=False)
    return model, model.default_cfg["input_size"][-1]


def _block(name: str) -> tuple[nn.Module, int]:
    sys.path.append(str(Path(__file__).parents[2] / "tests" / "pruning"))
    import pruning_architectures as blocks

    width = 64
    made: dict[str, Callable[[], nn.Module]] = {
        "block_c2f": lambda: blocks.Classifier(blocks.C2f(width, 2), width=width),
        "block_channel_shuffle": lambda: blocks.Classifier(
            blocks.ShuffleUnit(width), blocks.ShuffleUnit(width), width=width
        ),
        "block_fused_qkv": lambda: blocks.VisionTransformer(width, 4),
        "block_window_attention": lambda: blocks.Classifier(blocks.Window(width, 4, 4), width=width),
    }
    return made[name](), 16


def _randomise(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.02)


def last_layers(model: nn.Module, x: Tensor) -> list[nn.Module]:
    """Return the layers that make the outputs, which Torch-Pruning has to be told; ours finds them.

    Args:
        model: In eval mode.
        x: Its input.

    Returns:
        Modules whose output, or a view of it, is an output of the model.
    """
    from torch.utils._pytree import tree_leaves

    outputs = [leaf for leaf in tree_leaves(model(x)) if isinstance(leaf, Tensor)]
    widths = {length for leaf in outputs for length in leaf.shape[1:]}
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if isinstance(model, RawDetector):
        return [m for m in model.head.modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
    return [m for m in layers[-3:] if m.weight.shape[0] in widths]
