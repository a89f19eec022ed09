"""Zero-shot benchmarks: datasets, protocols, figures of merit and receipts, over an ordinary index."""

from cezsar.query.benchmark.checking import Checked, check
from cezsar.query.benchmark.receipt import compare, labels_of, read_receipt
from cezsar.query.benchmark.report import write_report
from cezsar.query.benchmark.run import Request, Result, run
from cezsar.query.benchmark.tables import results

__all__ = [
    "Checked",
    "Request",
    "Result",
    "check",
    "compare",
    "labels_of",
    "read_receipt",
    "results",
    "run",
    "write_report",
]
