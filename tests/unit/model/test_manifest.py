import json

import pytest
from pydantic import ValidationError

from med3d_pipeline.inference.manifest import Manifest


def manifest(**changes) -> dict:
    whole = {
        "name": "a-model", "version": "1", "description": "d", "intended_use": "u", "limits": [], "licence": "l",
        "training_data": {
            "name": "n", "description": "d", "source": "s", "licence": "l", "subjects": 3,
            "age_range_years": [20, 80], "field_strengths_t": [3], "vendors": ["V"],
        },
        "latent_dimension": 4,
        "brain_age": {"unit": "a", "evidence": "chronological age"},
        "sdmt": None,
        "decision": {
            "interval_level": 0.9, "review_percentile": 97, "refuse_distance": 3, "field_strength_tolerance_t": 0.2,
        },
        "metrics": {}, "software": {}, "files": {"encoder.onnx": "0" * 64},
    }  # fmt: skip
    return whole | changes


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "a/../../b", "a\\b", "C:evil", "", "./a", "a//b", "heads/.."]
)
def test_a_path_that_leads_out_of_the_bundle_is_refused(name):
    with pytest.raises(ValidationError, match="no plain path inside the bundle"):
        Manifest.model_validate(manifest(files={name: "0" * 64}))


def test_a_digest_that_is_no_sha256_is_refused():
    with pytest.raises(ValidationError):
        Manifest.model_validate(manifest(files={"a": "abc"}))


def test_an_unknown_field_is_refused():
    with pytest.raises(ValidationError):
        Manifest.model_validate(manifest(surprise=1))


def test_an_sdmt_head_without_its_description_is_refused():
    with pytest.raises(ValidationError, match="SDMT"):
        Manifest.model_validate(manifest(files={"heads/sdmt.onnx": "0" * 64}))


def test_the_digest_is_of_what_is_said_not_of_how_it_is_laid_out():
    whole = manifest()
    tight = Manifest.model_validate_json(json.dumps(whole, separators=(",", ":")))
    wide = Manifest.model_validate_json(json.dumps(dict(reversed(whole.items())), indent=4))
    assert tight.digest == wide.digest
    assert tight.digest != Manifest.model_validate(manifest(version="2")).digest


def test_simulated_labels_make_a_demonstration():
    head = {"unit": "{points}", "evidence": "simulated labels"}
    files = {"heads/sdmt.onnx": "0" * 64}
    found = Manifest.model_validate(manifest(sdmt=head, files=files)).sdmt
    assert found is not None
    assert found.is_demonstration
    measured = Manifest.model_validate(manifest(sdmt=head | {"evidence": "measured SDMT"}, files=files)).sdmt
    assert measured is not None
    assert not measured.is_demonstration
