"""Spares DuckDB the search for pandas, which it begins anew at each value that is bound to a query.

Where pandas is not installed, looking through all folders takes longer than a small query does.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder


class NoPandas(MetaPathFinder):
    """Says at once that there is no pandas, and nothing of any other module."""

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: object = None) -> None:
        """Ends the search for pandas as it would end after all folders."""
        if fullname == "pandas":
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)

    @classmethod
    def install(cls) -> None:
        """Once a process, and only where pandas is not to be had."""
        if cls not in sys.meta_path and importlib.util.find_spec("pandas") is None:
            sys.meta_path.insert(0, cls)
