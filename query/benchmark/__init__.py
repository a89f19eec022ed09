"""Zero-shot benchmarks: datasets, protocols, figures of merit and receipts, over an ordinary index."""

from query.benchmark.receipt import compare, read_receipt
from query.benchmark.report import write_report
from query.benchmark.run import Request, Result, run

__all__ = ["Request", "Result", "compare", "read_receipt", "run", "write_report"]
