"""The numbers that every arm of an evaluation shares."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassifierOptions:
    """Network, effort and strengths; an arm reads those its data and loss have a use for."""

    steps: int = 800
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 5e-2
    classifier: str = "small-resnet"
    """`small-resnet`, a function of the user's as `package:function`, or `timm:NAME`."""
    max_shift: int = 1
    """Images are moved by up to this many pixels each way."""
    flip: bool = False
    """Mirror half of the images left to right."""
    tau: float = 1.0
    """Strength of logit adjustment."""
    cb_beta: float = 0.9999
    """Of the effective number of images: 0 weighs classes alike, towards 1 by inverse frequency."""
    focal_gamma: float = 2.0
    """How much the focal loss discounts images that are already right."""
    ldam_margin: float = 0.5
    """The margin of the rarest class, in cosines."""
    ldam_scale: float = 30.0
    """What LDAM multiplies cosines with to make logits of them."""
    mixup_alpha: float = 0.2
    """Of the Beta(alpha, alpha) that mixup draws its shares from."""
    cutmix_alpha: float = 1.0
    """Of the Beta(alpha, alpha) that CutMix draws its shares from."""
    synthetic_weight: float = 0.5
    """Factor on the loss of synthetic images, in the `synthaug-weighted` arms."""
    deferred_share: float = 0.2
    """Last part of the steps: LDAM weighs classes, `synthaug-finetune` shows real images only and
    `smote-features` trains the last layer alone."""

    @property
    def deferred_from(self) -> int:
        """The first step of the last part, which has at least one."""
        return self.steps - max(round(self.steps * self.deferred_share), 1)
