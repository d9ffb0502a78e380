"""What GPUs can compute at most, for `--speed`: TFLOP/s of dense matrix products, without sparsity,
with sums in float32.

From NVIDIA's data sheets (V100, T4, A10, A30, A40, A100, L4, L40, L40S, H100, H200) and
architecture papers (GA102 for the RTX 30 series and RTX A6000, Ada for the RTX 40 series, RTX
Blackwell for the RTX 50 series). A GPU that is not listed has no share in the table.
"""

import re

# A pattern for the whole name as Paddle gives it, without NVIDIA, Tesla and GeForce; TFLOP/s in
# float32 without tensor cores, in TF32, and in half precision. 0: does not exist.
_TFLOPS: tuple[tuple[str, float, float, float], ...] = (
    (r"H200( NVL)?|H100 80GB HBM3|H100 SXM.*", 66.9, 494.7, 989.4),
    (r"H100 PCIe", 51.2, 378.0, 756.0),
    (r"A100[- ].*", 19.5, 156.0, 312.0),
    (r"A30", 10.3, 82.0, 165.0),
    (r"A40", 37.4, 74.8, 149.7),
    (r"A10", 31.2, 62.5, 125.0),
    (r"L40S", 91.6, 183.0, 362.0),
    (r"L40", 90.5, 90.5, 181.0),
    (r"L4", 30.3, 60.0, 121.0),
    (r"RTX A6000", 38.7, 77.4, 154.8),
    (r"RTX 3090", 35.6, 35.6, 71.0),
    (r"RTX 4080", 48.7, 48.7, 97.5),
    (r"RTX 4090", 82.6, 82.6, 165.2),
    (r"RTX 5090", 104.8, 104.8, 209.5),
    (r"V100-SXM[23]-.*", 15.7, 0.0, 125.0),
    (r"V100-PCIE-.*", 14.0, 0.0, 112.0),
    (r"T4", 8.1, 0.0, 65.0),
)
_BRANDS = ("NVIDIA", "Tesla", "GeForce")


def peak_tflops(gpu: str, precision: str) -> float | None:
    """The peak of a GPU by its name, in float32 (TF32 where it has that), float16 or bfloat16; None
    if it is not known."""
    name = " ".join(word for word in gpu.split() if word not in _BRANDS)
    for pattern, float32, tf32, half in _TFLOPS:
        if re.fullmatch(pattern, name):
            if precision == "float32":
                return tf32 or float32
            return half if precision == "float16" or tf32 else None  # bfloat16 came with TF32
    return None
