"""Zero-shot benchmarks: datasets, protocols, figures of merit and receipts, over an ordinary index."""

from cezsar.query.benchmark.receipt import compare, read_receipt
from cezsar.query.benchmark.report import write_report
from cezsar.query.benchmark.run import Request, Result, run

__all__ = ["Request", "Result", "compare", "read_receipt", "run", "write_report"]
