"""Training a CEZSAR model on captioned videos."""

from cezsar.training.examples import Split
from cezsar.training.pipeline import Request, Trained, Watcher, resumed, train
from cezsar.training.recipe import RECIPES, Recipe

__all__ = ["RECIPES", "Recipe", "Request", "Split", "Trained", "Watcher", "resumed", "train"]
