"""Which number formats a device computes quickly in."""

from __future__ import annotations

import torch


def fast_bfloat16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16; without them it is emulated, far slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
