# SPDX-License-Identifier: BSD-3-Clause
from typing import Any, Callable, ContextManager, Dict, NamedTuple, Optional, Tuple, TypeVar, Union

import torch
from torch import Tensor, nn

from . import human as human, maps as maps, measure as measure
from ._C import Observation as Observation, Seen as Seen

__version__: str
_T = TypeVar("_T")
_Source = Union["CamHook", Observation, Tensor]
_Distance = Union[str, Callable[[Tensor, Tensor], Tensor]]
_Term = Union[str, Callable[[Seen], Union[Tensor, Tuple[Tensor, Optional[Tensor]]]]]

class CamHook:
    layer: Optional[str]
    method: str
    detach_weights: bool
    def __init__(
        self,
        module: nn.Module,
        layer: Optional[str] = ...,
        method: str = ...,
        *,
        detach_weights: bool = ...,
        logits_of: Optional[Callable[[Any], Tensor]] = ...,
    ) -> None: ...
    @property
    def module(self) -> nn.Module: ...
    @property
    def observation(self) -> Observation: ...
    def cam(
        self, logits: Tensor, labels: Optional[Tensor] = ..., *, which: str = ...
    ) -> Tensor: ...
    def require(self) -> None: ...
    def logit_scale(self, logits: Optional[Tensor] = ...) -> float: ...
    def forward(self, function: Callable[[], _T]) -> _T: ...
    def capture(
        self, features: Tensor, weight: Optional[Tensor] = ..., bias: Optional[Tensor] = ...
    ) -> None: ...
    def clear(self) -> None: ...
    def remove(self) -> None: ...
    def paused(self) -> ContextManager[None]: ...
    def logits_in(self, result: Any) -> Tensor: ...
    def __enter__(self) -> "CamHook": ...
    def __exit__(self, *error: Any) -> None: ...

def watch(
    module: nn.Module, layer: Optional[str] = ..., method: str = ..., **options: Any
) -> CamHook: ...

class LossTerms(NamedTuple):
    total: Tensor
    classification: Tensor
    saliency: Tensor
    annotated_count: Tensor

class Part(NamedTuple):
    value: Tensor
    count: Tensor
    strength: float
    blend: str

class GuidanceTerms(NamedTuple):
    total: Tensor
    task: Tensor
    task_count: Tensor
    parts: Dict[str, Part]

class SaliencyGuidedLoss(nn.Module):
    alpha: float
    def __init__(
        self,
        distance: _Distance = ...,
        alpha: float = ...,
        *,
        cam_class: str = ...,
        fixed_class: int = ...,
        map_normalizer: Optional[str] = ...,
        human_normalizer: Optional[str] = ...,
        reduction: str = ...,
    ) -> None: ...
    def __call__(
        self,
        logits: Tensor,
        labels: Tensor,
        source: Optional[_Source] = ...,
        maps: Optional[Tensor] = ...,
        annotated: Optional[Tensor] = ...,
        weight: Optional[Tensor] = ...,
    ) -> LossTerms: ...
    def combine(
        self,
        task_loss: Tensor,
        cam: Optional[Tensor] = ...,
        maps: Optional[Tensor] = ...,
        annotated: Optional[Tensor] = ...,
        weight: Optional[Tensor] = ...,
    ) -> LossTerms: ...

class CyborgL1Loss(SaliencyGuidedLoss):
    def __init__(self, alpha: float = ..., **options: Any) -> None: ...

class CyborgL2Loss(SaliencyGuidedLoss):
    def __init__(self, alpha: float = ..., **options: Any) -> None: ...

class CyborgKLLoss(SaliencyGuidedLoss):
    def __init__(self, alpha: float = ..., **options: Any) -> None: ...

class Guidance(nn.Module):
    def __init__(
        self,
        *,
        blend: str = ...,
        balance: str = ...,
        reduction: str = ...,
        task: str = ...,
        class_weight: Optional[Tensor] = ...,
        label_smoothing: float = ...,
        focal: float = ...,
        regression: str = ...,
    ) -> None: ...
    def add(
        self,
        name: str,
        strength: float,
        term: Optional[_Term] = ...,
        *,
        blend: Optional[str] = ...,
        **options: Any,
    ) -> "Guidance": ...
    def set_strength(self, name: str, strength: float) -> None: ...
    def strength(self, name: str) -> float: ...
    def __call__(
        self,
        logits: Tensor,
        source: _Source,
        labels: Tensor,
        *,
        images: Optional[Tensor] = ...,
        maps: Optional[Tensor] = ...,
        wrong: Optional[Tensor] = ...,
        annotated: Optional[Tensor] = ...,
        weight: Optional[Tensor] = ...,
        positions: Optional[Tensor] = ...,
    ) -> GuidanceTerms: ...
    def step(
        self,
        hook: CamHook,
        images: Tensor,
        labels: Tensor,
        *,
        net: Optional[Callable[[Tensor], Any]] = ...,
        maps: Optional[Tensor] = ...,
        wrong: Optional[Tensor] = ...,
        annotated: Optional[Tensor] = ...,
        weight: Optional[Tensor] = ...,
        positions: Optional[Tensor] = ...,
    ) -> GuidanceTerms: ...

def term_names() -> Dict[str, str]: ...
def whole_batch_total(
    criterion: Optional[SaliencyGuidedLoss],
    terms: Union[LossTerms, GuidanceTerms],
    samples: int,
    group: Any = ...,
) -> Tensor: ...

class GuidedHeadOutput(NamedTuple):
    logits: Tensor
    cam: Optional[Tensor]

class GuidedHead(nn.Module):
    weight: nn.Parameter
    bias: Optional[nn.Parameter]
    def __init__(
        self, channels: int, classes: int, bias: bool = ..., device: Any = ..., dtype: Any = ...
    ) -> None: ...
    def reset_parameters(self) -> None: ...
    def __call__(self, features: Tensor) -> Tensor: ...
    def guided(
        self, features: Tensor, labels: Optional[Tensor] = ..., *, which: Optional[str] = ...
    ) -> GuidedHeadOutput: ...
    @classmethod
    def from_linear(cls, linear: nn.Linear) -> "GuidedHead": ...
    def to_linear(self) -> nn.Linear: ...
