"""The read path: text -> answers; never writes the catalog."""

from cezsar.query.calibration import Calibration
from cezsar.query.prompts import from_names, read_labels
from cezsar.query.prototypes import encoded
from cezsar.query.question import Question, Wanted, asked
from cezsar.query.ranking import Filters
from cezsar.query.search import Searcher, mean_vector, search
from cezsar.query.zeroshot import classify, classify_videos

__all__ = [
    "Calibration",
    "Filters",
    "Question",
    "Searcher",
    "Wanted",
    "asked",
    "classify",
    "classify_videos",
    "encoded",
    "from_names",
    "mean_vector",
    "read_labels",
    "search",
]
