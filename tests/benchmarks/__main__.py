"""Measure the lab against other programs, in one run: ``python tests/benchmarks [NAME …]``.

Figures of two machines, or of two hours, cannot be compared; ratios within
one run can. Each module beside this one measures one thing.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]
NAMES = ("boot", "ingest", "retrieve", "query", "messages", "day", "journal", "memory")


def main() -> None:
    """Run what was asked for and print the table."""
    from row import Row, markdown

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help=", ".join(NAMES))
    rows: list[Row] = []
    for name in parser.parse_args().names:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            rows += importlib.import_module(name).run(Path(folder))
        print(markdown(rows[-1:]), file=sys.stderr)
    print(f"Python {platform.python_version()}, {platform.machine()}, {platform.system()}\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
