"""The ways of computing that are checked, what each needs, and how exact each has to be."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bert_paddle.cli.selfcheck.compare import Deviation

# Against float64. On CPUs float32 differs by up to 2e-6, 6e-6 and 1e-4; an error of 1 % in one
# tensor's gradient is 50 times the tolerance. The others are 3 to 6 times what rounding the
# inputs and outputs of products (O1) or all operations (O2) changes: tests/reference/selfcheck.py
# --rounding.
FLOAT32 = Deviation(loss=5e-5, gradient=2e-4, weight=5e-4)
TF32 = Deviation(loss=2e-3, gradient=0.015, weight=0.03)
TOLERANCES = {
    "float32": FLOAT32,
    "tf32": TF32,
    "float16 O1": TF32,  # its products have as many bits
    "float16 O2": Deviation(loss=8e-3, gradient=0.02, weight=0.05),
    "bfloat16 O1": Deviation(loss=0.01, gradient=0.06, weight=0.25),
    "bfloat16 O2": Deviation(loss=0.06, gradient=0.12, weight=0.4),
}
# Read by NVIDIA's libraries: products of float32 tensors are then made in float32 on all GPUs.
NO_TF32 = {"NVIDIA_TF32_OVERRIDE": "0"}
_AMP_CAPABILITY = {"float16": (7, 0), "bfloat16": (8, 0)}  # Paddle's own limits
_FLASH_CAPABILITY = (8, 0)


@dataclass(frozen=True)
class Way:
    """A way of computing. flags: of run_glue.py and run_pretrain.py. precision: a key of
    TOLERANCES. device: cpu or gpu, or "" for both. capability: what it needs of a GPU. avoids: part
    of a note that says that it was not computed in this way."""

    name: str
    flags: str = ""
    precision: str = "float32"
    device: str = ""
    capability: tuple[int, int] = (0, 0)
    processes: int = 1
    needs_kernels: bool = False
    avoids: str = ""

    @property
    def is_half(self) -> bool:
        """Whether some of it is computed in half precision."""
        return "float16" in self.precision

    @property
    def optimizer(self) -> str:
        return "lamb" if "--optimizer lamb" in self.flags else "adamw"

    @property
    def tolerance(self) -> Deviation:
        return TOLERANCES[self.precision]

    @property
    def environment(self) -> Mapping[str, str]:
        return NO_TF32 if self.precision == "float32" else {}


def _amp(dtype: str, level: str, name: str = "", flags: str = "", flash: bool = False) -> Way:
    flags = f"--use_amp --amp_dtype {dtype} --amp_level {level} {flags}".strip()
    capability = max(_AMP_CAPABILITY[dtype], _FLASH_CAPABILITY if flash else (0, 0))
    precision = f"{dtype} {level}"
    avoids = "an ordinary attention kernel" if flash else ""
    return Way(f"{precision}{name}", flags, precision, "gpu", capability, avoids=avoids)


_FLASH = "--flash_attention"
WAYS: tuple[Way, ...] = (
    Way("float32, C kernels", device="cpu", needs_kernels=True, avoids="slower than our kernels"),
    Way("float32", "--cpu_kernels 0"),
    Way("float32 by default, TF32 on newer GPUs", precision="tf32", device="gpu"),
    Way("gradient accumulation", "--gradient_accumulation_steps 2"),
    Way("LAMB", "--optimizer lamb"),
    Way("recompute", "--recompute"),
    Way("to_static", "--to_static"),
    Way("2 processes", processes=2),
    Way("fused AdamW", "--fused_adamw", device="gpu"),
    *(_amp(dtype, level) for dtype in ("bfloat16", "float16") for level in ("O1", "O2")),
    *(_amp(d, "O1", ", flash attention", _FLASH, flash=True) for d in ("bfloat16", "float16")),
    _amp("bfloat16", "O1", ", recompute", "--recompute"),
    _amp("bfloat16", "O1", ", to_static", "--to_static"),
    _amp("float16", "O1", ", LAMB", "--optimizer lamb"),
    _amp("bfloat16", "O2", ", flash, fused", f"{_FLASH} --fused_adamw", flash=True),
)
BY_NAME = {way.name: way for way in WAYS}


@dataclass(frozen=True)
class Device:
    """What decides which ways can be checked. kernels: why the C kernels cannot be used, "" if they
    can. capability: the lowest of all GPUs."""

    gpus: int = 0
    capability: tuple[int, int] = (0, 0)
    kernels: str = ""
    names: tuple[str, ...] = field(default=())


def skip_reason(way: Way, device: Device) -> str:
    """Why a way cannot be checked on this device; "" if it can."""
    if way.device == "gpu" and not device.gpus:
        return "needs a GPU"
    if way.device == "cpu" and device.gpus:
        return "for CPUs: give --device cpu"
    if way.processes > 1 and 0 < device.gpus < way.processes:
        return f"needs {way.processes} GPUs"
    if device.gpus and device.capability < way.capability:
        wanted, has = (".".join(map(str, c)) for c in (way.capability, device.capability))
        return f"needs compute capability {wanted}, this GPU has {has}"
    if way.needs_kernels and device.kernels:
        return device.kernels
    return ""
