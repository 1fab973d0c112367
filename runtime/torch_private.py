"""What of torch is called here although it is not public: one place, and a test that tells when it moves.

torch's public attention gives no logsumexp, and its gradient cannot be given one: neither partial results over keys nor
gradients without a second forward run can be had of it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def flash_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """(o, z) on a CPU: `b h i e, b h j e, b h j e -> b h i e, b h i`; `mask` is added, and of the query's dtype.

    z is float32 at least; of a query that looks at no key both are 0.
    """
    found: tuple[Tensor, Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, is_causal, attn_mask=mask, scale=scale
    )
    return found


def flash_attention_gradient(
    adjoint: Tensor,
    operands: tuple[Tensor, Tensor, Tensor],
    output: Tensor,
    logsum: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(dq, dk, dv) of what `flash_attention` makes of `operands`; o and z may be those of more keys."""
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        adjoint, *operands, output, logsum, 0.0, is_causal, attn_mask=mask, scale=scale
    )
    return found
