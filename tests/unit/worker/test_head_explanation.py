import base64
import io

import numpy as np
from PIL import Image

from med3d_contract.explanations import StoredExplanation
from med3d_pipeline.explanation.explainer import (
    Attribution,
    HeadExplanation,
    RegionYears,
    VentricleMillilitres,
)
from med3d_worker.heads.explanation_picture import BRIGHTER_RGB, DARKER_RGB, ENLARGED, GAP, TITLE
from med3d_worker.heads.head_explanation import explain_head

SHAPE = (12, 14, 10)


class Explainer:
    """Gives a head that darkens on the patient's right and brightens on the left, as if asked of that age."""

    def __init__(self):
        self.asked = []

    def explain(self, tensor, age_years):
        self.asked.append(age_years)
        change = np.zeros(SHAPE, np.float32)
        change[7:] = -0.2
        change[:5] = 0.2
        return HeadExplanation(
            head=tensor,
            younger=tensor - change,
            older=tensor + change,
            difference=change,
            attribution=Attribution(age_years, 3.004, 1.0, (RegionYears("white matter", 2.004, 1.5),)),
            ventricles_ml=VentricleMillilitres(20.04, 22.0, 25.0),
        )


def explained():
    return explain_head(Explainer(), np.ones(SHAPE, np.float32), 55.0)


def test_numbers_are_told_in_the_contracts_words():
    explainer = Explainer()
    found = explain_head(explainer, np.ones(SHAPE, np.float32), 55.0).explanation
    assert explainer.asked == [55.0]
    assert (found.shares.total_years, found.shares.rest_years, found.shares.regions[0].years) == (3.0, 1.0, 2.0)
    assert found.ventricles_ml.younger == 20.0
    assert "research use" in found.sentence


def test_what_is_stored_can_be_read_again():
    stored = explained()
    assert StoredExplanation.model_validate_json(stored.model_dump_json()) == stored


def test_the_picture_shows_the_patients_right_at_the_left_and_darker_in_its_own_colour():
    picture = explained().picture
    image = Image.open(io.BytesIO(base64.b64decode(picture.png_base64)))
    assert image.size == (picture.width, picture.height)
    pixels = np.asarray(image).astype(int)
    cell = SHAPE[0] * ENLARGED  # of the axial row
    wide = SHAPE[1] * ENLARGED  # of the widest, the sagittal one
    row, left = TITLE + SHAPE[1] * ENLARGED // 4, GAP + 3 * (wide + GAP)
    near_right, near_left = pixels[row, left + cell // 4], pixels[row, left + 3 * cell // 4]
    assert tuple(near_right) == tuple(int(level) for level in DARKER_RGB)
    assert tuple(near_left) == tuple(int(level) for level in BRIGHTER_RGB)
