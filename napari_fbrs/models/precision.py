"""Which number formats a device computes quickly in."""

from __future__ import annotations

import torch


def fast_bfloat16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16; without them it is emulated, far slower than float32."""
    if device.type == "cuda":
        with torch.cuda.device(device):  # what is asked for is told of the current one
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    built = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if device.type == "cpu" and built:  # not everywhere on macOS
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return False
