"""What is measured: seconds of one thing of one size. Plain data, without torch, and what the sizes are."""

from __future__ import annotations

from dataclasses import dataclass

from einsplit.dtypes import ITEMSIZE

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Matmul:
    """A multiplication of m x k by k x n."""

    dtype: str
    m: int
    n: int
    k: int
    seconds: float

    @property
    def operations(self) -> int:
        return 2 * self.m * self.n * self.k

    @property
    def nbytes(self) -> int:
        """Read and written."""
        return (self.m * self.k + self.k * self.n + self.m * self.n) * ITEMSIZE[self.dtype]


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over memory that reads and writes `nbytes` in all."""

    nbytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Pointwise:
    """A join of so many scalar operations in all."""

    operations: int
    nbytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Exchange:
    """An all-to-all over one mesh axis, or over all of them; `sent` are the bytes that each device sends to others."""

    axes: tuple[int, ...]
    sent: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Samples:
    """All that one calibration measured, of the slowest device where several ran at once."""

    matmuls: tuple[Matmul, ...] = ()
    passes: tuple[Pass, ...] = ()
    pointwise: tuple[Pointwise, ...] = ()
    exchanges: tuple[Exchange, ...] = ()


@dataclass(frozen=True, slots=True)
class Sizes:
    """What to measure, and for how long: `seconds` and at least `repeats` calls each."""

    matmuls: tuple[tuple[str, Shape], ...]
    passes: tuple[int, ...]  # bytes of the operand, float32
    pointwise: tuple[int, ...]  # elements, float32
    exchanges: tuple[int, ...]  # bytes that go to each other device
    seconds: float
    repeats: int


SQUARE: tuple[Shape, ...] = tuple((n, n, n) for n in (16, 32, 64, 128, 256, 512, 1024))
THIN: tuple[Shape, ...] = tuple(
    shape for s in (4, 16, 64) for shape in ((s, 512, 512), (512, s, 512), (512, 512, s), (s, 1024, 1024))
)
SHAPES = SQUARE + THIN
FULL = Sizes(
    matmuls=tuple((dtype, shape) for dtype in ("float32", "bfloat16", "float64") for shape in SHAPES),
    passes=tuple(1 << k for k in (5, 12, 16, 20, 22, 24, 26)),
    pointwise=tuple(1 << k for k in (6, 12, 15, 18, 20, 22)),
    exchanges=tuple(1 << k for k in (2, 12, 16, 18, 20, 22, 24)),
    seconds=0.1,
    repeats=5,
)
QUICK = Sizes(
    matmuls=tuple((dtype, (n, n, n)) for dtype in ("float32", "bfloat16") for n in (32, 128, 256)),
    passes=(1 << 5, 1 << 16, 1 << 20),
    pointwise=(1 << 6, 1 << 14, 1 << 17),
    exchanges=(1 << 2, 1 << 14, 1 << 20),
    seconds=0.01,
    repeats=3,
)
