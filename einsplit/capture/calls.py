"""What is done around every call of a torch function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from torch.overrides import TorchFunctionMode


class EveryCall(TorchFunctionMode):
    """Inside, every call of a torch function runs within what `around` gives for it."""

    def around(self, func: Callable[..., object]) -> AbstractContextManager[object]:
        """What a call of `func` runs within; an exception that is raised here ends the call before it begins."""
        raise NotImplementedError

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        with self.around(func):
            return func(*args, **(kwargs or {}))
