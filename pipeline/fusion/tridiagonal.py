"""Block-tridiagonal matrices: frames that meet only their neighbours. Linear in frames in time and memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg.blas
import torch


@dataclass(frozen=True)
class Factor:
    """Block Cholesky factor ``H = L L^T`` of a symmetric positive definite block-tridiagonal matrix.

    Attributes
    ----------
    diagonal : ndarray (T, B, B)
        Lower triangular.
    lower : ndarray (T - 1, B, B)
    """

    diagonal: np.ndarray
    lower: np.ndarray

    def solve(self, right: np.ndarray) -> np.ndarray:
        """``H^-1 right`` (T, B): down the frames through L, and back up through L^T."""
        out = np.empty_like(right)
        solve = scipy.linalg.blas.dtrsv  # of L^T, for BLAS counts by columns
        for t, block in enumerate(self.diagonal):
            rest = right[t] if t == 0 else right[t] - self.lower[t - 1] @ out[t - 1]
            out[t] = solve(block.T, rest, lower=0, trans=1)
        for t in range(len(out) - 1, -1, -1):
            rest = out[t] if t == len(self.lower) else out[t] - out[t + 1] @ self.lower[t]
            out[t] = solve(self.diagonal[t].T, rest, lower=0)
        return out

    def solve_columns(self, right: torch.Tensor) -> None:
        """Turn ``right`` (T, B, K) into ``H^-1 right``, in place: K right sides at once."""
        diagonal, lower = torch.as_tensor(self.diagonal), torch.as_tensor(self.lower)
        for t in range(len(diagonal)):
            if t > 0:
                right[t] -= lower[t - 1] @ right[t - 1]
            right[t] = torch.linalg.solve_triangular(diagonal[t], right[t], upper=False)
        for t in range(len(diagonal) - 1, -1, -1):
            if t < len(lower):
                right[t] -= lower[t].T @ right[t + 1]
            right[t] = torch.linalg.solve_triangular(diagonal[t].T, right[t], upper=True)

    def get_marginals(self) -> np.ndarray:
        """Diagonal blocks (T, B, B) of the inverse: each frame's covariance, all frames considered.

        The backward recursion of Takahashi: ``S_t = L_t^-T (1 + C_t^T S_{t+1} C_t) L_t^-1`` with C_t the
        factor's block below L_t.
        """
        diagonal, lower = torch.as_tensor(self.diagonal), torch.as_tensor(self.lower)
        eye = torch.eye(diagonal.shape[1], dtype=torch.float64)
        out = torch.empty_like(diagonal)
        for t in range(len(diagonal) - 1, -1, -1):
            middle = eye if t == len(lower) else eye + lower[t].T @ out[t + 1] @ lower[t]
            inverse = torch.linalg.solve_triangular(diagonal[t], eye, upper=False)
            out[t] = inverse.T @ middle @ inverse
        return out.numpy()


def factorise(diagonal: np.ndarray, lower: np.ndarray, added: np.ndarray | None = None) -> Factor:
    """Block Cholesky of a symmetric block-tridiagonal matrix: (T, B, B) and (T - 1, B, B).

    ``added`` (T, B) is added to the matrix's own diagonal.
    """
    # torch, for it keeps to the threads it is given; scipy's BLAS starts a crew for every small block.
    blocks, coupling = torch.as_tensor(diagonal), torch.as_tensor(lower)
    factors, below = torch.empty_like(blocks), torch.empty_like(coupling)
    for t in range(len(blocks)):
        block = blocks[t] if t == 0 else blocks[t] - below[t - 1] @ below[t - 1].T
        if added is not None:
            block = block + torch.diag(torch.as_tensor(added[t]))
        factors[t] = torch.linalg.cholesky(block)
        if t < len(below):
            below[t] = torch.linalg.solve_triangular(factors[t], coupling[t].T, upper=False).T
    return Factor(factors.numpy(), below.numpy())
