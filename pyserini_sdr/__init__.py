"""Teacher-free training of dense retrievers, as a plug-in for Pyserini.

`BiEncoder` and `losses` are imported on first use, so that `import pyserini_sdr` stays light:

    from pyserini_sdr import BiEncoder
    encoder = BiEncoder.load("checkpoint")
    vectors = encoder.encode_queries(["what is dense retrieval"])
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["BiEncoder", "Searcher", "__version__", "losses"]

_LAZY = {
    "BiEncoder": ("model.encoder", "BiEncoder"),
    "Searcher": ("search.searcher", "Searcher"),
    "losses": ("losses", None),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module_name, attribute = _LAZY[name]
    module = import_module(f".{module_name}", __name__)
    return module if attribute is None else getattr(module, attribute)
