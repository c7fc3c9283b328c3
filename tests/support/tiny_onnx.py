"""Tiny ONNX detectors that see colours: each 8 x 8 cell of the input whose mean red, green or blue is high is a box.

They have the shapes of real models (dense and NMS-free outputs, float16, fixed batches) and weigh a few kilobytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CELL = 8
LABELS = ("red", "green", "blue")
Output = Literal["dense", "sparse"]


def write_tiny_onnx(
    path: Path,
    output: Output = "dense",
    *,
    size: tuple[int, int] = (64, 64),
    batch: int | None = None,
    half: bool = False,
    open_size: bool = False,
    names: str | None = "{0: 'red', 1: 'green', 2: 'blue'}",
    classes: int = 3,
) -> Path:
    """Writes a model for pictures of ``size`` (width, height); ``batch`` None: any number of them."""
    width, height = size
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    number = np.float16 if half else np.float32
    columns, rows = width // CELL, height // CELL
    anchors = columns * rows
    x, y = np.meshgrid(np.arange(columns) * CELL, np.arange(rows) * CELL)
    left, top = x.ravel().astype(number), y.ravel().astype(number)

    constants = {
        "shape": np.array([0, classes, anchors], dtype=np.int64),
        "zero": np.array(0, dtype=number),
        "first": np.array([0], dtype=np.int64),
        "second": np.array([1], dtype=np.int64),
        "axis": np.array([1], dtype=np.int64),
        "centres": np.stack([left + CELL / 2, top + CELL / 2, left * 0 + CELL, left * 0 + CELL])[None].astype(number),
        "corners": np.stack([left, top, left + CELL, top + CELL])[None].astype(number),
        "channels": np.arange(classes, dtype=np.int64),
    }
    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Gather", ["pooled", "channels"], ["chosen"], axis=1),
        helper.make_node("Reshape", ["chosen", "shape"], ["scores"]),
        helper.make_node("Slice", ["scores", "first", "second", "axis"], ["one"]),
        helper.make_node("Mul", ["one", "zero"], ["nothing"]),
    ]
    shape: list[Any]
    if output == "dense":
        nodes += [
            helper.make_node("Add", ["nothing", "centres"], ["boxes"]),
            helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1),
        ]
        shape = [batch or "batch", 4 + classes, anchors]
    else:
        constants["axes"] = np.array([1], dtype=np.int64)
        nodes += [
            helper.make_node("Add", ["nothing", "corners"], ["boxes"]),
            helper.make_node("ReduceMax", ["scores", "axes"], ["best"], keepdims=1),
            helper.make_node("ArgMax", ["scores"], ["which"], axis=1, keepdims=1),
            helper.make_node("Cast", ["which"], ["class"], to=kind),
            helper.make_node("Concat", ["boxes", "best", "class"], ["columns"], axis=1),
            helper.make_node("Transpose", ["columns"], ["output0"], perm=[0, 2, 1]),
        ]
        shape = [batch or "batch", anchors, 6]
    sides: list[Any] = ["height", "width"] if open_size else [height, width]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", kind, [batch or "batch", 3, *sides])],
        [helper.make_tensor_value_info("output0", kind, shape)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    metadata = {"imgsz": f"[{height}, {width}]", **({"names": names} if names else {})}
    helper.set_model_props(model, metadata)
    onnx.save(model, str(path))
    return path
