"""Reading PyTorch checkpoints without importing or running what is inside them.

A checkpoint is a zip archive of one pickle and the tensors' bytes. The pickle is read by an unpickler that
builds tensors, dictionaries and lists; the configuration objects of training tools become inert; anything
else is refused. The bytes are mapped, not copied: processes that read the same file share its memory.
"""

from __future__ import annotations

import functools
import io
import mmap
import pickle
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.errors import ModelError
from pipeline.pose.networks.hand_layer import TRAINING_PARTS

DOWNLOAD_AGAIN = (
    "Download it again from its makers and compare its size with the page's; a file of some kB is a web page."
)

_MARKS = {"mano_head.transformer.": "HaMeR", "refine_net.": "WiLoR", "gridSampleFeature.": "Hamba"}
"""By these names a network is told."""

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

_INERT_PACKAGES = {
    "argparse", "hamba", "hamer", "lightning", "lightning_fabric", "numpy", "omegaconf", "pathlib",
    "pytorch_lightning", "typing", "wilor", "yacs",
}  # fmt: skip
"""What training leaves in a checkpoint from these is kept as an empty shell with its contents."""

_INERT_NAMES = {
    ("_codecs", "encode"),
    ("collections", "Counter"),
    ("collections", "defaultdict"),
    ("torch", "device"),
    ("torch.torch_version", "TorchVersion"),
    *(("builtins", name) for name in ("bool", "bytes", "float", "int", "object", "str", "tuple")),
}

_PLAIN_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): tuple,
    ("builtins", "set"): set,
    ("builtins", "list"): list,
    ("builtins", "dict"): dict,
    ("__builtin__", "set"): set,
    ("__builtin__", "list"): list,
    ("__builtin__", "dict"): dict,
}


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights holds.

    Attributes
    ----------
    path : Path
        The file.
    weights : dict of Tensor
        By their published names.
    config : dict
        The training's configuration, names to plain values or dictionaries; empty where the file has none.
    """

    path: Path
    weights: dict[str, torch.Tensor]
    config: dict[Any, Any]

    def find_setting(self, name: str) -> Any:
        """A value of the configuration by its name, at whatever depth; None if it is not there."""
        return _find(self.config, name)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing of it is run.

    Parameters
    ----------
    path : Path
        As PyTorch 1.6 and later write it, of Lightning or a plain dictionary of tensors.

    Raises
    ------
    ModelError
        The file is missing, is not whole, or holds what is not plain data; says which and what to do.
    """
    content = read_content(path)
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no names of weights.", DOWNLOAD_AGAIN)
    weights = content.get("state_dict", content)
    if not isinstance(weights, dict) or not weights:
        raise ModelError(f"{path} holds no weights.", DOWNLOAD_AGAIN)
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ModelError(
                f"In {path} {name!s:.80} is no tensor, so these are not weights.", DOWNLOAD_AGAIN
            )
    config = content.get("hyper_parameters", {})
    return Checkpoint(path, dict(weights), config if isinstance(config, dict) else {})


def read_content(path: Path, inert: tuple[str, ...] = ()) -> Any:
    """What a file of PyTorch's holds; nothing of it is run.

    Parameters
    ----------
    path : Path
        As PyTorch 1.6 and later write it.
    inert : tuple of str
        Beginnings of the names of modules whose objects become `Inert`, beside those of training tools.

    Raises
    ------
    ModelError
        The file is missing, is not whole, or refers to anything else.
    """
    if not path.is_file():
        raise ModelError(f"{path} is missing.", "Put the file that the network's makers publish there.")
    try:
        with _Archive(path) as archive:
            return _Unpickler(archive, inert).load()
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{path} cannot be read as weights of a network ({error}).", DOWNLOAD_AGAIN
        ) from error


def load_weights(network: nn.Module, title: str, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's weights into a network, in single precision.

    The names and shapes must be the network's own, but for what only training needs and for those of MANO's
    buffers on which no answer depends.

    Parameters
    ----------
    network : Module
        May be on the device "meta": its weights are replaced, not copied into.
    title : str
        The network's name, for the message.
    checkpoint : Checkpoint
        What was read.

    Raises
    ------
    ModelError
        The weights are another network's.
    """
    given = {name: value for name, value in checkpoint.weights.items() if not name.startswith(TRAINING_PARTS)}
    own = network.state_dict()
    for name in set(_UNUSED).intersection(own).difference(given):
        given[name] = torch.zeros(own[name].shape, dtype=own[name].dtype)
    wrong = [
        *(f"{name} is missing" for name in own if name not in given),
        *(f"{name} is not one of its weights" for name in given if name not in own),
        *(
            f"{name} is {_spell(given[name])}, not {_spell(value)}"
            for name, value in own.items()
            if name in given and given[name].shape != value.shape
        ),
    ]
    if wrong:
        looks = next((f" It looks like {name}." for mark, name in _MARKS.items() if _has(given, mark)), "")
        more = f", and {len(wrong) - 3} more differences" if len(wrong) > 3 else ""
        raise ModelError(
            f"{checkpoint.path} does not hold the weights of {title}: {'; '.join(wrong[:3])}{more}.{looks}",
            f"Put {title}'s own file there, as its makers publish it.",
        )
    network.load_state_dict(
        {name: value.to(own[name].dtype) for name, value in given.items()}, strict=True, assign=True
    )
    network.requires_grad_(False).eval()


_UNUSED = tuple(
    f"mano.{name}"
    for name in (
        "faces_tensor", "parents", "hand_components", "hand_mean", "pose_mean", "extra_joints_idxs",
        "joint_map", "vertex_joint_selector.extra_joints_idxs",
    )
)  # fmt: skip
"""Published with the weights, by some releases of smplx; no answer depends on them."""


def _spell(value: torch.Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "a single number"


def _has(weights: Mapping[str, torch.Tensor], mark: str) -> bool:
    return any(name.startswith(mark) for name in weights)


# --- the archive ----------------------------------------------------------------------------------


class _Archive:
    """The pickle of a checkpoint and its tensors' bytes, mapped from the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> _Archive:
        self._file = self.path.open("rb")
        try:
            self._zip = zipfile.ZipFile(self._file)
        except zipfile.BadZipFile as error:
            self._file.close()
            raise ModelError(
                f"{self.path} is not a whole file of weights: it is cut short, or something else.",
                DOWNLOAD_AGAIN,
            ) from error
        self._entries = {entry.filename.partition("/")[2]: entry for entry in self._zip.infolist()}
        # Private: the tensors may be written to, and the file is never changed.
        self._bytes = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY)
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()

    def read_pickle(self) -> bytes:
        if "data.pkl" not in self._entries:
            raise ModelError(f"{self.path} is an archive, but not of weights.", DOWNLOAD_AGAIN)
        if "byteorder" in self._entries and self._zip.read(self._entries["byteorder"]) != b"little":
            raise ModelError(f"{self.path} was written by a computer of another byte order.", DOWNLOAD_AGAIN)
        return self._zip.read(self._entries["data.pkl"])

    def map(self, key: str, dtype: torch.dtype) -> torch.Tensor:
        """The values (n,) of a stored piece."""
        entry = self._entries[f"data/{key}"]
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ModelError(f"{self.path} is compressed; weights are not.", DOWNLOAD_AGAIN)
        head = self._bytes[entry.header_offset : entry.header_offset + 30]
        lengths = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        start = entry.header_offset + 30 + lengths
        with memoryview(self._bytes) as whole, whole[start : start + entry.file_size] as part:
            if len(part) != entry.file_size or zlib.crc32(part) != entry.CRC:
                raise ModelError(f"{self.path} is damaged: its checksums do not agree.", DOWNLOAD_AGAIN)
        count = entry.file_size // dtype.itemsize
        if not count:
            return torch.empty(0, dtype=dtype)
        return torch.frombuffer(self._bytes, dtype=dtype, count=count, offset=start)


# --- the pickle -----------------------------------------------------------------------------------


class Inert(dict[Any, Any]):
    """Stands for an object of another program: holds what was put in, does nothing.

    Attributes
    ----------
    state : Any
        The object's own values, most often a dictionary by name.
    """

    state: Any = None

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, value: Any) -> None:
        """Keep a value by its number."""
        self[len(self)] = value

    def extend(self, values: Any) -> None:
        """Keep values by their numbers."""
        for value in values:
            self.append(value)

    add = append


@dataclass(frozen=True)
class _StorageKind:
    """Stands for one of PyTorch's storage classes."""

    dtype: torch.dtype


def _rebuild_tensor(storage: torch.Tensor, offset: int, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    return storage.as_strided(size, stride, offset)


def _rebuild_parameter(data: torch.Tensor, *_: Any) -> torch.Tensor:
    return data


_REBUILDERS: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


class _Unpickler(pickle.Unpickler):
    """Builds plain data and tensors, and imports nothing."""

    def __init__(self, archive: _Archive, inert: tuple[str, ...]) -> None:
        super().__init__(io.BytesIO(archive.read_pickle()), encoding="utf-8")
        self._archive, self._inert = archive, inert
        self._pieces: dict[tuple[str, torch.dtype], torch.Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN_NAMES:
            return _PLAIN_NAMES[module, name]
        if (module, name) in _REBUILDERS:
            return functools.partial(_REBUILDERS[module, name])  # a file may set attributes of what it gets
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _StorageKind(_DTYPES[name])
        if module == "torch" and isinstance(vars(torch).get(name), torch.dtype):
            return vars(torch)[name]
        if module.partition(".")[0] in _INERT_PACKAGES or (module, name) in _INERT_NAMES:
            return Inert
        if module.startswith(self._inert):
            return Inert
        raise ModelError(
            f"{self._archive.path} refers to {module}.{name}, which weights do not need; it was not opened.",
            "Weights are numbers. Take the file from the network's makers, not from elsewhere.",
        )

    def persistent_load(self, pid: Any) -> torch.Tensor:
        tag, kind, key, *_ = pid
        if tag != "storage" or not isinstance(kind, _StorageKind):
            raise ModelError(f"{self._archive.path} holds a tensor of an unknown kind.", DOWNLOAD_AGAIN)
        if (key, kind.dtype) not in self._pieces:
            self._pieces[key, kind.dtype] = self._archive.map(str(key), kind.dtype)
        return self._pieces[key, kind.dtype]


def _walk(value: Any) -> Iterator[tuple[Any, Any]]:
    """Names and values of nested dictionaries, those of inert objects' states too."""
    waiting, seen = [value], set()
    while waiting:
        one = waiting.pop()
        if not isinstance(one, dict) or id(one) in seen:
            continue
        seen.add(id(one))
        yield from one.items()
        waiting += [*one.values(), getattr(one, "state", None)]


def _find(config: dict[Any, Any], wanted: str) -> Any:
    return next((value for name, value in _walk(config) if name == wanted), None)
