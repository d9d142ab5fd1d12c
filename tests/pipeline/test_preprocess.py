from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.preprocess import PRESETS, enhance


def draw(seed: int = 0, height: int = 120, width: int = 160, noise: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    image = np.full((height, width, 3), 90, np.uint8)
    cv2.ellipse(image, (width // 2, height // 2), (width // 4, height // 3), 20, 0, 360, (120, 150, 210), -1)
    noisy = image + noise * random.standard_normal(image.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def test_the_presets_are_those_of_appendix_a():
    rows = {
        name: (p.denoise_h, p.gamma, p.clahe_clip, p.clahe_tiles, p.sharpen_alpha, p.sharpen_sigma)
        for name, p in PRESETS.items()
    }
    assert rows == {
        "minimal": (0, 1.0, 0, 8, 0, 1.0),
        "standard": (0, 0.6, 2.0, 8, 0, 1.0),
        "dystonia": (6, 0.85, 2.0, 8, 0.2, 1.0),
        "latching_fix": (3, 0.75, 3.0, 8, 1.5, 1.5),
    }


def test_minimal_leaves_the_picture_alone():
    image = draw(noise=5)
    np.testing.assert_array_equal(enhance(image, "minimal"), image)


def test_standard_is_gamma_by_its_formula_then_clahe_on_l_of_lab():
    image = draw(noise=5)
    powered = np.round(255 * (image / 255.0) ** (1 / 0.6)).astype(np.uint8)
    lab = cv2.cvtColor(powered, cv2.COLOR_BGR2LAB)
    lab[:, :, 0] = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(lab[:, :, 0])
    np.testing.assert_array_equal(enhance(image, "standard"), cv2.cvtColor(lab, cv2.COLOR_LAB2BGR))


def test_sharpening_comes_last_and_is_the_unsharp_mask():
    image = draw(noise=3)
    blunt = enhance_without_sharpening(image, "latching_fix")
    blurred = cv2.GaussianBlur(blunt, (0, 0), 1.5).astype(float)
    expected = np.clip(blunt * 2.5 - blurred * 1.5, 0, 255)
    np.testing.assert_allclose(enhance(image, "latching_fix"), expected, atol=1.0)


def enhance_without_sharpening(image, preset):
    from dataclasses import replace
    from unittest.mock import patch

    with patch.dict(PRESETS, {preset: replace(PRESETS[preset], sharpen_alpha=0.0)}):
        return enhance(image, preset)


def test_denoising_takes_noise_from_flat_skin_and_keeps_the_edge():
    """The stage before the contrast is raised: bilateral with gamma, CLAHE and sharpening left out."""
    from pipeline import preprocess

    clean, noisy = draw(noise=0), draw(noise=4)
    smooth = preprocess._denoise(noisy, 6.0)
    skin = np.s_[50:70, 70:90, 2]
    assert np.std(smooth[skin].astype(float)) < 0.6 * np.std(noisy[skin].astype(float))
    edge = np.abs(np.diff(clean[:, :, 2].astype(float), axis=1)) > 50
    kept = np.abs(np.diff(smooth[:, :, 2].astype(float), axis=1))[edge].mean()
    assert kept > 0.85 * np.abs(np.diff(clean[:, :, 2].astype(float), axis=1))[edge].mean()


@settings(max_examples=25, deadline=None)
@given(
    preset=st.sampled_from(sorted(PRESETS)),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_any_crop_keeps_its_shape_and_is_not_changed_in_place(preset, height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = image.copy()
    out = enhance(image, preset)
    assert out.shape == image.shape
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(image, before)


def test_a_view_into_a_larger_picture_is_enhanced_like_its_copy():
    image = draw(noise=4)
    crop = image[10:90, 20:130]
    np.testing.assert_array_equal(enhance(crop, "dystonia"), enhance(crop.copy(), "dystonia"))


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises(ValueError, match="expected uint8"):
        enhance(wrong, "standard")


def test_an_unknown_preset_is_refused():
    with pytest.raises(KeyError):
        enhance(draw(), "sharper")
