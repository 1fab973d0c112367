"""GPUs and their nodes: every figure beside its source.

Rates are of dense multiplications, without sparsity. float32 is FP32 without TF32, as torch multiplies unless it is
told otherwise. Bandwidths of links are per GPU and direction, as NCCL reaches them, not line rates. A share of the
peak is taken off only where somebody has measured it; what nobody published is a data sheet's figure, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in the unit of its field, and where it is from."""

    value: float
    source: str


@dataclass(frozen=True, slots=True)
class Link:
    """What joins devices: bytes per second and direction of one device, latency of one exchange."""

    bytes_per_second: Figure
    latency_seconds: Figure


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, the node it comes in, and what joins nodes."""

    title: str
    node_size: int
    flops_per_second: Figure
    matmul_flops_per_second: Mapping[str, Figure]
    half_size: Figure
    memory_bytes_per_second: Figure
    memory_bytes: Figure
    launch_seconds: Figure
    inside: Link  # of GPUs of one node
    between: Link  # of nodes

    def figures(self, num_nodes: int, node_size: int) -> Iterator[tuple[str, Figure]]:
        """Every figure of so many nodes of that size, by the name of its field."""
        yield "flops_per_second", self.flops_per_second
        for dtype, figure in self.matmul_flops_per_second.items():
            yield f"matmul_flops_per_second.{dtype}", figure
        yield "half_size", self.half_size
        yield "memory_bytes_per_second", self.memory_bytes_per_second
        yield "memory_bytes", self.memory_bytes
        yield "launch_seconds", self.launch_seconds
        for name, link, num in (("node", self.between, num_nodes), ("gpu", self.inside, node_size)):
            if num > 1:
                yield f"{name}.bytes_per_second", link.bytes_per_second
                yield f"{name}.latency_seconds", link.latency_seconds


A100_SHEET = "NVIDIA A100 80GB SXM data sheet"
H100_SHEET = "NVIDIA H100 SXM data sheet"
H200_SHEET = "NVIDIA H200 SXM data sheet"
GB200_SHEET = "NVIDIA GB200 NVL72 data sheet, rack / 72"
MAMF = "measured: github.com/stas00/ml-engineering, compute/accelerator, Maximum Achievable Matmul FLOPS, bfloat16"
NO_TF32 = "FP32 without TF32, torch's default; peak, no measured share published"
TENSOR_64 = "FP64 tensor core; peak, no measured share published"

HALF_SIZE = Figure(
    64.0,
    "estimate from DeepBench shapes m x 1760 x 1760, float32 cuBLAS: 0.43 of the rate at m = 64, 0.72 at 128 "
    "(github.com/hedaoyuan/openai-gemm, README; an older GPU)",
)
LAUNCH = Figure(
    5e-6,
    "5 to 25 us of host work for an operation of eager torch, which runs ahead of the GPU: the lower end "
    "(jiahuanglin.xyz, GPU kernels and serving, lesson 18)",
)
NVLINK_LATENCY = Figure(
    4.1e-6, "NCCL's tuning model: 3.6 us base + 0.47 us NVLink, ring LL (github.com/NVIDIA/nccl, src/graph/tuning.cc)"
)
NETWORK_LATENCY = Figure(
    6.3e-6, "NCCL's tuning model: 3.6 us base + 2.7 us network, ring LL (github.com/NVIDIA/nccl, src/graph/tuning.cc)"
)
HDR = Link(
    Figure(2.4e10, "24 GB/s through a port of 200 Gb/s, one per GPU (NVIDIA, github.com/NVIDIA/nccl-tests/issues/119)"),
    NETWORK_LATENCY,
)
NDR = Link(
    Figure(
        4.7e10,
        "46 to 48 GB/s through a port of 400 Gb/s, one per GPU (NVIDIA, github.com/NVIDIA/nccl-tests/issues/290)",
    ),
    NETWORK_LATENCY,
)
NVLINK_4 = Link(
    Figure(3.7e11, "370 of the 450 GB/s of NVLink 4 (NVIDIA, github.com/NVIDIA/nccl-tests/issues/212)"),
    NVLINK_LATENCY,
)
# H100 and H200 are the same chip with different memory.
HOPPER_MATMUL = {
    "bfloat16": Figure(7.945e14, f"{MAMF}: H100 SXM, 80 % of 989; H200 the same"),
    "float16": Figure(7.945e14, "as bfloat16: both have one peak on the data sheet"),
    "float32": Figure(6.7e13, f"{H100_SHEET}: 67 TFLOPS, {NO_TF32}"),
    "float64": Figure(6.7e13, f"{H100_SHEET}: 67 TFLOPS, {TENSOR_64}"),
}

GPUS: dict[str, Gpu] = {
    "a100": Gpu(
        title="NVIDIA A100 80GB SXM",
        node_size=8,
        flops_per_second=Figure(1.95e13, f"{A100_SHEET}: FP32, 19.5 TFLOPS"),
        matmul_flops_per_second={
            "bfloat16": Figure(2.712e14, f"{MAMF}: A100 SXM, 87 % of 312"),
            "float16": Figure(2.712e14, "as bfloat16: both have one peak on the data sheet"),
            "float32": Figure(1.95e13, f"{A100_SHEET}: 19.5 TFLOPS, {NO_TF32}"),
            "float64": Figure(1.95e13, f"{A100_SHEET}: 19.5 TFLOPS, {TENSOR_64}"),
        },
        half_size=HALF_SIZE,
        memory_bytes_per_second=Figure(2.039e12, f"{A100_SHEET}: 2,039 GB/s, peak"),
        memory_bytes=Figure(8e10, f"{A100_SHEET}: 80 GB"),
        launch_seconds=LAUNCH,
        inside=Link(
            Figure(2.3e11, "230 of the 300 GB/s of NVLink 3 (NVIDIA, github.com/NVIDIA/nccl-tests/issues/149)"),
            NVLINK_LATENCY,
        ),
        between=HDR,
    ),
    "h100": Gpu(
        title="NVIDIA H100 SXM",
        node_size=8,
        flops_per_second=Figure(6.7e13, f"{H100_SHEET}: FP32, 67 TFLOPS"),
        matmul_flops_per_second=HOPPER_MATMUL,
        half_size=HALF_SIZE,
        memory_bytes_per_second=Figure(3.35e12, f"{H100_SHEET}: 3.35 TB/s, peak"),
        memory_bytes=Figure(8e10, f"{H100_SHEET}: 80 GB"),
        launch_seconds=LAUNCH,
        inside=NVLINK_4,
        between=NDR,
    ),
    "h200": Gpu(
        title="NVIDIA H200 SXM",
        node_size=8,
        flops_per_second=Figure(6.7e13, f"{H200_SHEET}: FP32, 67 TFLOPS"),
        matmul_flops_per_second=HOPPER_MATMUL,
        half_size=HALF_SIZE,
        memory_bytes_per_second=Figure(4.8e12, f"{H200_SHEET}: 4.8 TB/s, peak"),
        memory_bytes=Figure(1.41e11, f"{H200_SHEET}: 141 GB"),
        launch_seconds=LAUNCH,
        inside=NVLINK_4,
        between=NDR,
    ),
    "b200": Gpu(
        title="NVIDIA B200 in a GB200 NVL72 rack",
        node_size=72,
        flops_per_second=Figure(8e13, f"{GB200_SHEET}: FP32, 5,760 TFLOPS"),
        matmul_flops_per_second={
            "bfloat16": Figure(1.822e15, f"{MAMF}: GB200 SXM, 73 % of 2,500"),
            "float16": Figure(1.822e15, "as bfloat16: both have one peak on the data sheet"),
            "float32": Figure(8e13, f"{GB200_SHEET}: 5,760 TFLOPS, {NO_TF32}"),
            "float64": Figure(4e13, f"{GB200_SHEET}: 2,880 TFLOPS, {TENSOR_64}"),
        },
        half_size=HALF_SIZE,
        memory_bytes_per_second=Figure(8e12, f"{GB200_SHEET}: 576 TB/s, peak"),
        memory_bytes=Figure(1.86e11, f"{GB200_SHEET}: 13.4 TB"),
        launch_seconds=LAUNCH,
        inside=Link(
            Figure(
                7.2e11,
                "80 % of the 900 GB/s of NVLink 5: the share that packets leave "
                "(NVIDIA, github.com/NVIDIA/nccl/issues/1054)",
            ),
            NVLINK_LATENCY,
        ),
        between=NDR,
    ),
}
