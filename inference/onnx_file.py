"""What an ONNX file says of itself, read without ONNX Runtime and without its weights.

A model of 100 MB answers in well under a millisecond, so that a configuration check can ask for its labels. The file
is a protobuf `ModelProto` (onnx.proto): ir_version = 1, graph = 7, opset_import = 8 {domain = 1, version = 2},
metadata_props = 14 {key = 1, value = 2}.
"""

import ast
import mmap
from pathlib import Path
from typing import Any, NamedTuple

from inference.model_registry import BadModel

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_Buffer = bytes | mmap.mmap


class OnnxHead(NamedTuple):
    """``opset`` is that of the standard operators; ``metadata`` what the exporter wrote beside the graph."""

    ir_version: int
    opset: int
    metadata: dict[str, str]

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The class names that Ultralytics and others put into the key `names`; None where there are none."""
        return read_names(self.metadata.get("names"))

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(width, height) the model was exported for, from the key `imgsz` ([height, width]); None where absent."""
        size = _literal(self.metadata.get("imgsz"))
        if isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(side, int) for side in size):
            return int(size[1]), int(size[0])
        return None


def read_onnx_head(path: Path) -> OnnxHead:
    """The head of the file at ``path``; raises `BadModel` where it is no ONNX model."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _head(content)
    except (OSError, ValueError, IndexError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its structure does not read as one"
        raise BadModel(f"{path}: is no ONNX model ({reason})") from None


def read_names(written: str | None) -> tuple[str, ...] | None:
    """Class names from a Python literal, ``{0: 'pine', 1: 'worker'}`` or a list; None where it is neither.

    Classes are numbered from 0; a number that is left out gets the name ``class_<number>``.
    """
    names = _literal(written)
    if isinstance(names, list | tuple):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        return None
    numbered = {int(number): str(name) for number, name in names.items() if str(number).isdigit()}
    if len(numbered) < len(names) or max(numbered) >= 100_000:
        return None
    return tuple(numbered.get(number, f"class_{number}") for number in range(max(numbered) + 1))


def _literal(written: str | None) -> Any:
    if written is None or len(written) > 1_000_000:
        return None
    try:
        return ast.literal_eval(written)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _head(content: _Buffer) -> OnnxHead:
    ir_version, opset, graph, metadata = 0, 0, False, {}
    for field, value in _fields(content, 0, len(content)):
        if field == 1 and isinstance(value, int):
            ir_version = value
        elif field == 7:
            graph = True
        elif field == 8 and isinstance(value, slice):
            inner = dict(_fields(content, value.start, value.stop))
            domain = _text(content, inner.get(1))
            if domain in ("", "ai.onnx") and isinstance(inner.get(2), int):
                opset = int(inner[2])  # type: ignore[arg-type]
        elif field == 14 and isinstance(value, slice):
            inner = dict(_fields(content, value.start, value.stop))
            metadata[_text(content, inner.get(1))] = _text(content, inner.get(2))
    if not graph or not ir_version:
        raise ValueError
    return OnnxHead(ir_version, opset, metadata)


def _text(content: _Buffer, place: int | slice | None) -> str:
    return content[place].decode() if isinstance(place, slice) else ""


def _fields(content: _Buffer, start: int, stop: int) -> list[tuple[int, int | slice]]:
    """Field numbers with a number, or with the place of a field that has a length."""
    found: list[tuple[int, int | slice]] = []
    while start < stop:
        tag, start = _varint(content, start)
        kind = tag & 7
        value: int | slice
        if kind == _VARINT:
            value, start = _varint(content, start)
        elif kind == _BYTES:
            length, start = _varint(content, start)
            value = slice(start, start + length)
            start += length
        elif kind in (_FIXED_32, _FIXED_64):
            width = 4 if kind == _FIXED_32 else 8
            value = int.from_bytes(content[start : start + width], "little")
            start += width
        else:
            raise ValueError
        if start > stop:
            raise ValueError
        found.append((tag >> 3, value))
    return found


def _varint(content: _Buffer, start: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
        shift += 7
        if shift > 63:
            raise ValueError
