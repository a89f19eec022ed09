"""The embedded networks as ONNX graphs without weights.

`python tools/graphs.py` makes the shipped files again; it needs `pip install 'cezsar[graphs]'`.

Each weight of a graph is a stretch of the published file (ONNX's external data), which ONNX Runtime maps into memory:
nothing is copied, converted or kept twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxscript.optimizer
import torch
from onnx import helper

from cezsar import encoders
from cezsar.encoders.images import EfficientNet, lite1, lite2
from cezsar.encoders.sentences import SentenceEncoder
from cezsar.encoders.weights import IMAGE_WEIGHTS, SENTENCE_WEIGHTS, SMALL_IMAGE_WEIGHTS, Weights
from cezsar.files import write

_SMALL = 1024  # bytes; a smaller constant stays in the graph


@dataclass(frozen=True)
class _Stretch:
    """Where a tensor's values are in a file, and the dimensions and permutation that make the tensor of them."""

    offset: int
    dims: tuple[int, ...]
    permutation: tuple[int, ...]


class _Text(torch.nn.Module):
    """Tokens -> unit vectors, as SentenceEncoder does it."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net: Any = net

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        kinds = torch.zeros_like(input_ids)
        states = self.net(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=kinds).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        return torch.nn.functional.normalize((states * mask).sum(dim=1) / mask.sum(dim=1), dim=-1)


class _Frames(torch.nn.Module):
    """(N, 3, side, side) uint8 -> features and logits, as EfficientNet does it."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net: Any = net

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.net.forward_features((frames.to(torch.float32) - 127.0) / 128.0)
        features = self.net.forward_head(maps, pre_logits=True)
        return features, self.net.classifier(features)


def text_graph() -> onnx.ModelProto:
    """MiniLM: input_ids and attention_mask, (N, L) int64 -> vectors, (N, 384)."""
    net = SentenceEncoder(torch.device("cpu"))._model
    tokens = torch.tensor([[101, 1037, 3899, 102], [101, 3899, 102, 0]])
    mask = (tokens > 0).long()  # with padding in the example, or the exporter takes the mask for no mask
    sizes = {0: torch.export.Dim("n", min=1, max=1024), 1: torch.export.Dim("l", min=2, max=512)}
    graph = _exported(_Text(net), (tokens, mask), (sizes, sizes), ["input_ids", "attention_mask"], ["vectors"])
    return _stripped(graph, SENTENCE_WEIGHTS, _in_safetensors(SENTENCE_WEIGHTS.path(), "net."))


def frames_graph(network: EfficientNet, weights: Weights) -> onnx.ModelProto:
    """An EfficientNet-Lite: frames, (N, 3, side, side) uint8 -> features, (N, 1280), and logits, (N, 1000)."""
    net, side = network.net, network.side
    frames = torch.zeros((2, 3, side, side), dtype=torch.uint8)
    sizes = ({0: torch.export.Dim("n", min=1, max=1024)},)
    graph = _exported(_Frames(net), (frames,), sizes, ["frames"], ["features", "logits"])
    names = [f"net.{name}" for name in net.state_dict()]
    return _stripped(graph, weights, _in_checkpoint(weights.path(), names))


def _exported(
    module: torch.nn.Module, inputs: Any, sizes: Any, names: list[str], outputs: list[str]
) -> onnx.ModelProto:
    program: Any = torch.onnx.export(
        module.eval(), inputs, dynamo=True, dynamic_shapes=sizes, input_names=names, output_names=outputs,
        optimize=False, verbose=False,
    )  # fmt: skip
    # what is known of a constant is worked out; weights are not touched: they must stay what the published file holds
    model: onnx.ModelProto = program.model_proto
    _untransposed(model)
    onnxscript.optimizer.remove_unused_nodes(model)
    onnxscript.optimizer.fold_constants(model, input_size_limit=_SMALL, output_size_limit=_SMALL)
    onnxscript.optimizer.remove_unused_nodes(model)
    return model


def _stripped(model: onnx.ModelProto, weights: Weights, stretches: Mapping[str, _Stretch]) -> onnx.ModelProto:
    """The graph with its weights pointing into their published file."""
    kept, turned = [], []
    for tensor in model.graph.initializer:
        stretch = stretches.get(tensor.name)
        if stretch is None:
            kept.append(tensor)
            continue
        stored = onnx.TensorProto(name=tensor.name, data_type=onnx.TensorProto.FLOAT, dims=stretch.dims)
        if stretch.permutation != tuple(range(len(stretch.dims))):
            stored.name += ".stored"
            turned.append(helper.make_node("Transpose", [stored.name], [tensor.name], perm=stretch.permutation))
        stored.data_location = onnx.TensorProto.EXTERNAL
        length = 4 * int(np.prod(stretch.dims))
        for key, value in (("location", weights.path().name), ("offset", stretch.offset), ("length", length)):
            stored.external_data.add(key=key, value=str(value))
        kept.append(stored)
    nodes = [*turned, *model.graph.node]
    for part in nodes:
        for field in ("metadata_props", "doc_string", "name"):
            part.ClearField(field)
    for part in (model, model.graph):
        part.ClearField("metadata_props")
    del model.graph.initializer[:], model.graph.node[:], model.graph.value_info[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    return model


def _untransposed(model: onnx.ModelProto) -> None:
    """Multiply by W' of a linear layer with W as it is stored, by ONNX Runtime's own operator."""
    weights = {tensor.name for tensor in model.graph.initializer}
    turned = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Transpose"}
    for node in model.graph.node:
        if node.op_type == "MatMul" and turned.get(node.input[1]) in weights:
            node.op_type, node.domain = "FusedMatMul", "com.microsoft"
            node.input[1] = turned[node.input[1]]
            node.attribute.append(helper.make_attribute("transB", 1))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _in_safetensors(path: Path, prefix: str) -> dict[str, _Stretch]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    return {
        prefix + name: _Stretch(
            8 + size + said["data_offsets"][0], tuple(said["shape"]), tuple(range(len(said["shape"])))
        )
        for name, said in header.items()
        if name != "__metadata__" and said["dtype"] == "F32"
    }


def _in_checkpoint(path: Path, names: list[str]) -> dict[str, _Stretch]:
    """Of a checkpoint of the old kind, where storages follow one another, each after its number of values."""
    content, found = path.read_bytes(), {}
    saved = torch.load(path, map_location="cpu", weights_only=True)
    for name, tensor in zip(names, saved.values(), strict=True):
        if tensor.dtype != torch.float32:
            continue
        storage = torch.tensor([]).set_(tensor.untyped_storage()).numpy()
        offset = content.index(len(storage).to_bytes(8, "little") + storage.tobytes()) + 8
        order = sorted(range(tensor.dim()), key=lambda axis: (-tensor.stride(axis), tensor.shape[axis] > 1, axis))
        dims = tuple(tensor.shape[axis] for axis in order)
        found[name] = _Stretch(offset, dims, tuple(int(i) for i in np.argsort(order)))
        assert np.array_equal(storage.reshape(dims).transpose(found[name].permutation), tensor.numpy()), name
    return found


if __name__ == "__main__":
    cpu = torch.device("cpu")
    for name, graph in (
        ("minilm", text_graph()),
        ("efficientnet_lite2", frames_graph(lite2(cpu), IMAGE_WEIGHTS)),
        ("efficientnet_lite1", frames_graph(lite1(cpu), SMALL_IMAGE_WEIGHTS)),
    ):
        write(Path(encoders.__file__).with_name(f"{name}.onnx"), graph.SerializeToString(deterministic=True))
