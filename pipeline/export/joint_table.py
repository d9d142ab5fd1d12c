"""The fused joints as a long table, beside the tables that the run has already."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.export.source import ExportSource
from pipeline.hand.joints import JOINTS, N_JOINTS


def list_tables(source: ExportSource) -> dict[str, pd.DataFrame]:
    """All tables by name, the joints first; the run's own are as it has them."""
    return {"joints": tabulate_joints(source), **source.tables}


def tabulate_joints(source: ExportSource) -> pd.DataFrame:
    """A row for each hand, frame and joint, in this order.

    Returns
    -------
    DataFrame
        ``side``, ``frame``, ``time_s``, ``joint``, ``x_mm``, ``y_mm``, ``z_mm``, ``sigma_mm``, ``quality``;
        world of the reference camera, NaN = not measured.
    """
    n_frames = len(source.time_s)
    parts = [
        pd.DataFrame(
            {
                "side": side,
                "frame": np.repeat(np.arange(n_frames), N_JOINTS),
                "time_s": np.repeat(source.time_s, N_JOINTS),
                "joint": np.tile(np.array(JOINTS), n_frames),
                **{f"{axis}_mm": hand.joints_mm[..., i].ravel() for i, axis in enumerate("xyz")},
                "sigma_mm": hand.sigma_mm.ravel(),
                "quality": hand.quality.ravel(),
            }
        )
        for side, hand in source.hands.items()
    ]
    return pd.concat(parts, ignore_index=True)
