"""What is called of torch that is not public still does what it did."""

import pytest
import torch

from einsplit.runtime.torch_private import flash_attention, flash_attention_gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("is_causal", [True, False])
def test_the_fused_attention_gives_values_logsumexp_and_gradients(dtype, is_causal):
    torch.manual_seed(0)
    query, key, value, adjoint = (torch.randn(2, 3, 7, 4, dtype=dtype).requires_grad_() for _ in range(4))
    shift = None if is_causal else torch.randn(7, 7, dtype=dtype)
    scores = query @ key.transpose(-1, -2) * 0.3
    later = torch.ones(7, 7).triu(1).bool()
    scores = scores.masked_fill(later, -torch.inf) if shift is None else scores + shift
    expected = torch.softmax(scores, -1) @ value
    gradients = torch.autograd.grad(expected, (query, key, value), adjoint)
    with torch.no_grad():
        output, logsum = flash_attention(query, key, value, shift, is_causal, 0.3)
        operands = (query, key, value)
        found = flash_attention_gradient(adjoint, operands, output, logsum, shift, is_causal, 0.3)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(logsum, torch.logsumexp(scores, -1))
    for mine, theirs in zip(found, gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_query_that_looks_at_no_key_gives_zeros_for_both():
    query, key, value = (torch.randn(1, 1, 2, 4) for _ in range(3))
    mask = torch.tensor([[0.0, 0.0], [-torch.inf, -torch.inf]])
    output, logsum = flash_attention(query, key, value, mask, False, 1.0)
    assert not output[0, 0, 1].any() and logsum[0, 0, 1] == 0
