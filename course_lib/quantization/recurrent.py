"""A recurrent layer on codes: weights, inputs and the state between steps take only values that codes stand for.

    r = σ(W_ir·x + b_ir + W_hr·h + b_hr)        z = σ(W_iz·x + b_iz + W_hz·h + b_hz)
    n = tanh(W_in·x + b_in + r·(W_hn·h + b_hn))        h ← (1 − z)·n + z·h

The state of a GRU lies between −1 and 1 by construction, so its codes need no calibration: symmetric, −1 … 1. The
input has the range of what it was calibrated on, one scale for all its features. Weights have one scale for each row,
biases stay in floats, and so do σ and tanh: a runtime computes those from a table.

Cho et al. 2014, arXiv:1406.1078, eq. 5 to 8, with r applied as cuDNN and PyTorch do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.quantization.affine import Affine, Codes, from_range, min_max
from course_lib.quantization.fake import fake_quantize


def input_codes(x: Tensor, bits: int) -> Affine:
    """Unsigned codes from the smallest to the largest value, one scale for all features.

    Args: x: (N, steps, features), float32, from the training part.
    """
    return min_max(x, Codes(bits, signed=False))


def gru_on_codes(gru: nn.GRU, x: Tensor, codes: Affine, bits: int) -> Tensor:
    """The last state of a GRU whose weights, inputs and states are on codes: (B, steps, features) → (B, hidden).

    Args:
        gru: one layer, one direction, ``batch_first``, with biases.
        x: float32.
        codes: of the input, see ``input_codes``.
        bits: of weights and states, 2 … 8.
    Raises: ValueError: another kind of GRU, or bits out of range.
    Matches: ``nn.GRU``, the closer the more bits.

    >>> gru = nn.GRU(3, 4, batch_first=True)
    >>> x = torch.rand(2, 5, 3)
    >>> gru_on_codes(gru, x, input_codes(x, 8), 8).shape
    torch.Size([2, 4])
    """
    if gru.num_layers != 1 or gru.bidirectional or not gru.batch_first or not gru.bias:
        raise ValueError(f"gru must have one layer, one direction, batch_first and biases, got {gru}")
    if not 2 <= bits <= 8:
        raise ValueError(f"bits must be in 2 … 8, got {bits}")
    own = {name.removesuffix("_l0"): value.detach() for name, value in gru.named_parameters()}
    rounded = {
        name: fake_quantize(weight, min_max(weight, Codes(bits, restricted=True), symmetric=True, axis=0))
        for name, weight in own.items()
        if name.startswith("weight")
    }
    one = torch.tensor(1.0)
    of_state = from_range(-one, one, Codes(bits, restricted=True), symmetric=True)
    with torch.no_grad():
        inputs = F.linear(fake_quantize(x, codes), rounded["weight_ih"], own["bias_ih"])  # (B, steps, 3·hidden)
        state = x.new_zeros(len(x), gru.hidden_size)
        for step in inputs.unbind(1):
            r_in, z_in, n_in = step.chunk(3, dim=1)
            r_state, z_state, n_state = F.linear(state, rounded["weight_hh"], own["bias_hh"]).chunk(3, dim=1)
            z = torch.sigmoid(z_in + z_state)
            n = torch.tanh(n_in + torch.sigmoid(r_in + r_state) * n_state)
            state = fake_quantize((1 - z) * n + z * state, of_state)
    return state
