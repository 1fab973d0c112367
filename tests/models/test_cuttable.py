"""Nothing heavy is whole: in models of real width, nearly everything is in nodes that can be cut by two labels.

The models are captured on torch's meta device, and nothing is run.
"""

from __future__ import annotations

import pytest

from einsplit.passes import tidy
from einsplit.report import share_cuttable, understood
from tests.models.driver import differentiated
from tests.models.shares import counted_by_torch, share
from tests.models.zoo import ZOO

LEAST = 0.99
MOST = 1.05  # of the products that torch counts, all that a model does
# What torch cannot count: masks whose values are looked at, and grouped products in float32.
NOT_COUNTED = {"BERT", "BART", "Mixtral"}


@pytest.mark.parametrize("name", list(ZOO))
def test_nothing_heavy_in_a_model_and_in_its_gradient_is_whole(name: str) -> None:
    case = differentiated(ZOO[name].build_real())
    forward = tidy(case.captured.graph)
    for graph in (forward, case.graph):
        found = share(graph)
        assert found.cuttable_operations >= LEAST * found.operations
        assert found.cuttable_nbytes >= LEAST * found.nbytes
        shares = (found.cuttable_operations / found.operations, found.cuttable_nbytes / found.nbytes)
        assert share_cuttable(graph) == pytest.approx(shares, abs=1e-3)  # what users are told
    told = understood(forward).operations
    assert told == pytest.approx(share(forward).operations, rel=1e-3)
    if name not in NOT_COUNTED:
        counted = counted_by_torch(ZOO[name].build_real())
        assert counted <= told <= MOST * counted
