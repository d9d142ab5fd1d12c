from fractions import Fraction

import pytest

from pipeline.hand.model import HandModel, load_hand_model
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import Take, Truth, make_take, make_truth

SMALL = SynthSpec(seconds=6.0, size_px=(640, 360), fps=Fraction(30), seed=5, subject=3, name="tried")


@pytest.fixture(scope="session")
def model() -> HandModel:
    return load_hand_model()


@pytest.fixture(scope="session")
def take(model: HandModel) -> Take:
    return make_take(SMALL, model)


@pytest.fixture(scope="session")
def truth(model: HandModel, take: Take) -> Truth:
    return make_truth(SMALL, model, take)
