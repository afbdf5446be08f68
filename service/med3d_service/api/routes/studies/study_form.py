"""How the form of POST /studies is described in OpenAPI, and how it may be refused."""

from typing import Any

from med3d_service.studies.series_by_hand import LONGEST_SERIES

INTAKE_CODES = (
    "malformed_upload", "empty_upload", "no_images", "unsupported_format", "nifti_unreadable", "nifti_truncated",
    "not_an_archive",
    "archive_encrypted", "archive_nested", "archive_truncated", "archive_unsupported", "archive_unsafe_path",
    "archive_unsafe_member", "archive_bomb", "archive_empty", "too_many_files", "unknown_field", "invalid_age",
    "invalid_sex", "invalid_subject", "invalid_series", "unknown_priority", "unknown_bundle", "bundle_retired",
    "upload_too_large",
    "not_multipart", "no_bundle", "bundle_forged", "disk_full", "identity_corrected",
)  # fmt: skip

FORM: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["files"],
                "additionalProperties": False,
                "properties": {
                    "files": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "contentMediaType": "application/octet-stream"},
                        "description": "one .zip, .tar or .tar.gz, or many files: DICOM, .nii, .nii.gz, .mgz",
                    },
                    "age": {"type": "number", "minimum": 0, "maximum": 120, "description": "years", "examples": [63.4]},
                    "sex": {"type": "string", "enum": ["F", "M"]},
                    "subject": {
                        "type": "string",
                        "maxLength": 200,
                        "description": "the sender's pseudonym, given back with the study",
                        "examples": ["S-0042"],
                    },
                    "priority": {"type": "string", "enum": ["stat", "routine", "cohort"], "default": "routine"},
                    "bundle": {
                        "type": "string",
                        "description": "name, name@version or digest of a model bundle; else the default one",
                        "examples": ["infovae-ixi@0.1.0"],
                    },
                    "series": {
                        "type": "string",
                        "maxLength": LONGEST_SERIES,
                        "description": "the series to analyse: its number, its Series Instance UID or its label in an "
                        "earlier run; else the service chooses",
                        "examples": ["19"],
                    },
                },
            }
        }
    },
}
