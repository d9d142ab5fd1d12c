"""The hand model: smplx's MANO, with the user's licensed file or with the built-in hand.

Everywhere else a `HandModel` is asked for; nothing else knows which file it came from, and nothing
assumes a number of vertices.
"""

from __future__ import annotations

import contextlib
import functools
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from smplx.body_models import MANOLayer
from smplx.utils import Struct

from pipeline.errors import ModelError
from pipeline.files import hash_file, read_npz
from pipeline.hand.joints import JOINTS_FROM_MANO
from settings import get_settings

MM_PER_M = 1000.0
MANO_TIP_VERTICES = (744, 320, 443, 554, 671)
"""smplx's fingertip vertices of MANO, thumb to pinky."""

MANO_LICENCE = "MANO licence of the Max-Planck-Gesellschaft (non-commercial, by registration)"


@dataclass(frozen=True)
class HandModel:
    """A right hand that can be posed. Left hands are mirrored outside (`pipeline.hand.rotations`).

    Attributes
    ----------
    name : str
        "MANO" or "built-in hand".
    licence : str
        Licence of the model's file.
    digest : str
        SHA-256 of the file.
    layer : smplx.body_models.MANOLayer
        The model, in metres, with absolute pose (flat hand = identity), float32.
    faces : ndarray (F, 3) int
        Triangles, outward.
    tip_vertices : tuple of 5 int
        Fingertip vertices, thumb to pinky.
    """

    name: str
    licence: str
    digest: str
    layer: MANOLayer
    faces: np.ndarray
    tip_vertices: tuple[int, ...]

    @property
    def n_vertices(self) -> int:
        """Number of vertices V."""
        return int(self.layer.v_template.shape[0])

    @property
    def n_betas(self) -> int:
        """Number of shape parameters."""
        return int(self.layer.shapedirs.shape[-1])

    def pose(
        self,
        betas: torch.Tensor,
        global_orient: torch.Tensor,
        hand_pose: torch.Tensor,
        transl_mm: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pose the hand; differentiable in every argument.

        Parameters
        ----------
        betas : Tensor (10,) or (T, 10)
            Shape.
        global_orient : Tensor (T, 3, 3)
            Rotation of the hand in the world, about the model's own wrist joint.
        hand_pose : Tensor (T, 15, 3, 3)
            Rotations of the joints `MANO_POSE_JOINTS`; identity is the flat template.
        transl_mm : Tensor (T, 3)
            Shift in the world. The wrist lies at ``wrist_template + transl``, as in smplx.

        Returns
        -------
        vertices_mm : Tensor (T, V, 3)
        joints_mm : Tensor (T, 21, 3)
            In the order of `pipeline.hand.joints.JOINTS`, tips on the surface.
        """
        frames = global_orient.shape[0]
        if betas.dim() == 1:
            betas = betas.expand(frames, -1)
        output = self.layer(betas=betas, global_orient=global_orient[:, None], hand_pose=hand_pose)
        shift = transl_mm[:, None]
        # smplx's MANO gives the 16 joints alone; the tips are points of the surface.
        tips = output.vertices[:, list(self.tip_vertices)]
        joints = torch.cat([output.joints, tips], dim=1)[:, list(JOINTS_FROM_MANO)]
        return output.vertices * MM_PER_M + shift, joints * MM_PER_M + shift

    def pose_arrays(
        self,
        betas: np.ndarray,
        global_orient: np.ndarray,
        hand_pose: np.ndarray,
        transl_mm: np.ndarray,
        chunk: int = 256,
    ) -> tuple[np.ndarray, np.ndarray]:
        """`pose` for arrays, in chunks of frames: ``(vertices_mm, joints_mm)``, float32."""
        vertices, joints = [], []
        with torch.no_grad():
            for start in range(0, len(global_orient), chunk):
                part = slice(start, start + chunk)
                v, j = self.pose(
                    torch.as_tensor(betas, dtype=torch.float32),
                    torch.tensor(global_orient[part], dtype=torch.float32),
                    torch.tensor(hand_pose[part], dtype=torch.float32),
                    torch.tensor(transl_mm[part], dtype=torch.float32),
                )
                vertices.append(v.numpy())
                joints.append(j.numpy())
        return np.concatenate(vertices), np.concatenate(joints)


def load_hand_model(models_dir: Path | None = None) -> HandModel:
    """The user's MANO if ``models/mano/MANO_RIGHT.pkl`` is there, else the built-in hand.

    Parameters
    ----------
    models_dir : Path, optional
        The folder of models; by default the setting ``models_dir``.

    Raises
    ------
    ModelError
        Neither is there, or the file is not a MANO model.
    """
    return _load(Path(models_dir or get_settings().models_dir).resolve())


def read_mean_pose(models_dir: Path | None = None) -> np.ndarray:
    """MANO's mean pose (15, 3), axis-angle in rad from the flat hand, from the user's ``MANO_RIGHT.pkl``.

    Raises
    ------
    ModelError
        The file is not there: the built-in hand has no mean pose.
    """
    path = Path(models_dir or get_settings().models_dir).resolve() / "mano" / "MANO_RIGHT.pkl"
    if not path.is_file():
        raise ModelError(
            f"{path} is missing.", "Register with MANO's makers and put their MANO_RIGHT.pkl there."
        )
    return np.asarray(_read_mano(path)["hands_mean"], dtype=float).reshape(15, 3)


@functools.lru_cache(maxsize=4)
def _load(models_dir: Path) -> HandModel:
    mano, builtin = models_dir / "mano" / "MANO_RIGHT.pkl", models_dir / "builtin" / "hand.npz"
    if mano.is_file():
        fields = _read_mano(mano)
        return _build("MANO", MANO_LICENCE, mano, fields, MANO_TIP_VERTICES)
    if builtin.is_file():
        fields = read_npz(builtin)
        tips = tuple(int(v) for v in fields["tip_vertices"])
        return _build("built-in hand", str(fields["licence"]), builtin, fields, tips)
    raise ModelError(
        f"No hand model in {models_dir}.",
        "Run `make setup`, which makes the built-in hand, or put MANO_RIGHT.pkl into models/mano/.",
    )


def _build(name: str, licence: str, path: Path, fields: dict[str, Any], tips: tuple[int, ...]) -> HandModel:
    struct = Struct(
        **{
            key: fields[key]
            for key in (
                "v_template", "f", "J_regressor", "weights", "shapedirs", "posedirs",
                "kintree_table", "hands_components", "hands_mean",
            )
        }
    )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):  # smplx prints that ten betas are few
        layer = MANOLayer(
            model_path="", data_struct=struct, is_rhand=True, use_pca=False, flat_hand_mean=True
        )
    layer.requires_grad_(False)
    return HandModel(
        name=name,
        licence=licence,
        digest=hash_file(path),
        layer=layer,
        faces=np.asarray(fields["f"]).astype(np.int64),
        tip_vertices=tips,
    )


class _Chumpy:
    """Stands for a chumpy array in a MANO pickle: keeps the state, runs nothing."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    def to_array(self) -> np.ndarray:
        if "x" in self.state:
            return _to_array(self.state["x"])
        if "a" in self.state:  # chumpy's Select: elements idxs of a, in a preferred shape
            flat = _to_array(self.state["a"]).ravel()[np.asarray(self.state["idxs"])]
            return flat.reshape(self.state.get("preferred_shape", flat.shape))
        raise ModelError("The MANO file holds a chumpy object of an unknown kind.")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


def _make_empty(kind: type, base: type, state: Any) -> Any:
    """What ``copyreg._reconstructor`` does, for the classes that a MANO file may hold and no others."""
    if base is object and (kind is _Chumpy or kind.__module__.startswith("scipy.sparse")):
        return object.__new__(kind)
    raise ModelError(
        f"The MANO file holds a {kind.__name__}, which a MANO model does not need.",
        "Download MANO_RIGHT.pkl again from its makers; this file is not opened.",
    )


class _ManoUnpickler(pickle.Unpickler):
    """Reads MANO's pickle without running what is inside: a named few classes, all else refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "chumpy":
            return _Chumpy
        if module.startswith("scipy.sparse") and name in ("csc_matrix", "csr_matrix", "coo_matrix"):
            return getattr(scipy.sparse, name)
        if (module, name) in _ALLOWED:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        # Pickles of protocol 0, Python 2's default, build every object by these two.
        if name == "_reconstructor" and module in ("copy_reg", "copyreg"):
            return _make_empty
        if name == "object" and module in ("__builtin__", "builtins"):
            return object
        raise ModelError(
            f"The MANO file refers to {module}.{name}, which a MANO model does not need.",
            "Download MANO_RIGHT.pkl again from its makers; this file is not opened.",
        )


def _to_array(value: Any) -> np.ndarray:
    if isinstance(value, _Chumpy):
        return value.to_array()
    if scipy.sparse.issparse(value):
        return value.toarray()
    return np.asarray(value)


def _read_mano(path: Path) -> dict[str, Any]:
    try:
        raw = _ManoUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        return {key: _to_array(value) if not isinstance(value, str) else value for key, value in raw.items()}
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{path} is not a MANO model ({error}).",
            "Put the MANO_RIGHT.pkl of mano_v1_2.zip there, or remove the file to use the built-in hand.",
        ) from error
