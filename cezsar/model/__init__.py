"""The CEZSAR method (arXiv 2605.01165): towers, object stream, losses; it knows features, and no files of video."""

from cezsar.model.config import OWN_FIELDS, STREAMS, CezsarConfig
from cezsar.model.joint import CezsarModel, pad

__all__ = ["OWN_FIELDS", "STREAMS", "CezsarConfig", "CezsarModel", "pad"]
