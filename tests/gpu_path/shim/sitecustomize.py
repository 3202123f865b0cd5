"""The real Unsloth without a GPU, for tests: CUDA that is the CPU, and Triton's interpreter.

Python imports this file first when its folder is on PYTHONPATH. When `unsloth` is imported,
torch.cuda is made to describe one GPU, what is sent there stays where it is, and Unsloth rewrites
TRL as on a GPU (by itself it leaves that out without one). Not covered so: 4-bit weights, fused
LoRA kernels (float32 turns them off), memory, speed.
"""

import contextlib
import importlib.abc
import importlib.util
import os
import sys
from types import SimpleNamespace

os.environ.update(
    UNSLOTH_ALLOW_CPU="1",
    UNSLOTH_SKIP_TORCHVISION_CHECK="1",
    TRITON_INTERPRET="1",
    HF_DEACTIVATE_ASYNC_LOAD="1",
)
GB = 1 << 30
GPU = SimpleNamespace(
    name="CPU in place of a GPU",
    total_memory=80 * GB,
    major=8,
    minor=0,
    multi_processor_count=108,
    gcnArchName="",
    is_integrated=0,
    warp_size=32,
    max_threads_per_multi_processor=2048,
    regs_per_multiprocessor=65536,
    shared_memory_per_block=48 << 10,
    shared_memory_per_block_optin=163 << 10,
)


class Event:
    """A stream or event of CUDA on which all is done at once."""

    cuda_stream = 0

    def __init__(self, *args, **kwargs):
        pass

    def __getattr__(self, name):
        return lambda *args, **kwargs: Event()


class Device(contextlib.nullcontext):
    idx = 0

    def __init__(self, *args):
        super().__init__()


class First(list):
    """Buffers of one device, whose index is None on a CPU."""

    def __getitem__(self, index):
        return super().__getitem__(index or 0)

    def __setitem__(self, index, value):
        super().__setitem__(index or 0, value)


class Count(int):
    """How many devices there are; a list of so many is a `First`."""

    def __rmul__(self, other):
        return First(other * int(self)) if isinstance(other, list) else int(self) * other

    __mul__ = int.__mul__


def describe_gpu(torch):
    answers = {
        "get_device_properties": GPU,
        "get_device_capability": (GPU.major, GPU.minor),
        "get_device_name": GPU.name,
        "mem_get_info": (70 * GB, 80 * GB),
        "is_bf16_supported": True,
        "device_count": 1,
        "current_device": 0,
        "current_stream": Event(),
        "default_stream": Event(),
        "stream": contextlib.nullcontext(),
    }
    zero = ["memory_reserved", "max_memory_reserved", "memory_allocated", "max_memory_allocated"]
    nothing = ["synchronize", "empty_cache", "set_device", "reset_peak_memory_stats"]
    answers |= dict.fromkeys(zero, 0) | dict.fromkeys(nothing)
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *args, answer=answer, **kwargs: answer)
    torch.cuda.Stream = torch.cuda.Event = Event
    torch.cuda.device = torch.cuda.device_of = Device
    torch.Tensor.record_stream = lambda tensor, stream: None
    torch._C._cuda_getCurrentRawStream = lambda *args: 0


def stay_on_the_cpu(torch):
    """Whatever names cuda, as an argument of a torch function, means the CPU."""
    from torch.overrides import TorchFunctionMode

    def cpu(value):
        named = str(value) if isinstance(value, str | torch.device) else ""
        return "cpu" if named.startswith("cuda") else value

    class Stay(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            kwargs = dict(kwargs or {})
            if function is torch.Tensor.cuda:
                return args[0]
            if function is torch.device:
                here = args and (isinstance(args[0], int) or cpu(args[0]) != args[0])
                return function("cpu") if here else function(*args, **kwargs)
            if "device" in kwargs:
                device = kwargs["device"]
                kwargs["device"] = "cpu" if isinstance(device, int) else cpu(device)
            if getattr(function, "__name__", "") == "to":
                args = tuple(map(cpu, args))
            for name in {"pin_memory", "non_blocking"} & kwargs.keys():
                kwargs[name] = False
            return function(*args, **kwargs)

    Stay().__enter__()


def rewrite_trl(unsloth):
    """As unsloth/__init__.py does where it sees a GPU."""
    os.environ["UNSLOTH_ALLOW_CPU"] = "0"
    from unsloth.models.llama import FastLlamaModel
    from unsloth.models.rl import PatchFastRL

    PatchFastRL(FastLanguageModel=FastLlamaModel)
    os.environ["UNSLOTH_ALLOW_CPU"] = "1"
    for name, module in list(sys.modules.items()):
        if name.startswith("unsloth") and isinstance(getattr(module, "DEVICE_COUNT", None), int):
            module.DEVICE_COUNT = Count(1)
    import unsloth.kernels.utils as kernels

    for name in ("WEIGHT_BUFFERS", "ABSMAX_BUFFERS", "_CUDA_STREAMS", "CUDA_STREAMS"):
        if isinstance(getattr(kernels, name, None), list):
            setattr(kernels, name, First(getattr(kernels, name)))
    load = unsloth.FastLanguageModel.from_pretrained
    unsloth.FastLanguageModel.from_pretrained = staticmethod(
        lambda *args, **kwargs: load(*args, **{"device_map": "cpu", **kwargs})
    )


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "unsloth":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module):
            import torch
            import torch._inductor.config

            describe_gpu(torch)
            stay_on_the_cpu(torch)
            run(module)
            rewrite_trl(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
