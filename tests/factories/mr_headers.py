"""Headers of MR sequences as scanners of several makers write them (synthetic), to be merged with MPRAGE's."""

from typing import Any

SIEMENS = {"Manufacturer": "SIEMENS"}
GE = {"Manufacturer": "GE MEDICAL SYSTEMS", "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}
PHILIPS = {"Manufacturer": "Philips", "ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]}
SPIN = {"ScanningSequence": "SE", "SequenceVariant": "SK", "InversionTime": None, "FlipAngle": 90}
INVERTED_SPIN = {"ScanningSequence": ["SE", "IR"], "SequenceVariant": ["SK", "SP", "MP"], "FlipAngle": 120}
GRADIENT = {"ScanningSequence": "GR", "SequenceVariant": "SP", "InversionTime": None}

T1_WEIGHTED: dict[str, dict[str, Any]] = {
    "MPRAGE, Siemens 3 T": SIEMENS | {"RepetitionTime": 2300, "EchoTime": 2.98, "InversionTime": 900},
    "MPRAGE, Siemens 1.5 T": SIEMENS
    | {"RepetitionTime": 1900, "EchoTime": 3.9, "InversionTime": 1100, "FlipAngle": 15, "MagneticFieldStrength": 1.5},
    "MPRAGE, Siemens 7 T": SIEMENS
    | {"RepetitionTime": 2600, "EchoTime": 2.5, "InversionTime": 1100, "FlipAngle": 5, "MagneticFieldStrength": 7},
    "IR-SPGR, GE": GE
    | {
        "ScanningSequence": "GR", "SequenceVariant": ["SS", "SP", "SK"], "RepetitionTime": 7.3, "EchoTime": 3.0,
        "InversionTime": 400, "FlipAngle": 11,
    },
    "SPGR without inversion, GE": GE | GRADIENT | {"RepetitionTime": 8, "EchoTime": 3.2, "FlipAngle": 15},
    "T1-TFE without stated inversion, Philips": PHILIPS
    | GRADIENT | {"SequenceVariant": "MP", "RepetitionTime": 8.1, "EchoTime": 3.7, "FlipAngle": 8},
    "T1-FFE of older scanners": PHILIPS
    | GRADIENT | {"RepetitionTime": 25, "EchoTime": 4.6, "FlipAngle": 30, "MagneticFieldStrength": 1.5},
    "VIBE": SIEMENS | GRADIENT | {"RepetitionTime": 5.2, "EchoTime": 2.4, "FlipAngle": 12},
    "SPACE T1": SIEMENS | SPIN | {"RepetitionTime": 700, "EchoTime": 11, "FlipAngle": 120},
}  # fmt: skip

NOT_T1_WEIGHTED: dict[str, dict[str, Any]] = {
    "T2 TSE": SIEMENS | SPIN | {"RepetitionTime": 4000, "EchoTime": 98, "MRAcquisitionType": "2D"},
    "T2 SPACE": SIEMENS | SPIN | {"RepetitionTime": 3200, "EchoTime": 408},
    "FLAIR": INVERTED_SPIN | {"RepetitionTime": 9000, "EchoTime": 90, "InversionTime": 2500},
    "3D FLAIR": INVERTED_SPIN | {"RepetitionTime": 5000, "EchoTime": 387, "InversionTime": 1800},
    "STIR": INVERTED_SPIN | {"RepetitionTime": 4000, "EchoTime": 50, "InversionTime": 160},
    "proton density": SPIN | {"RepetitionTime": 3000, "EchoTime": 12},
    "spoiled gradient echo at a small angle": GRADIENT | {"RepetitionTime": 25, "EchoTime": 3, "FlipAngle": 4},
    "diffusion": {
        "ScanningSequence": "EP", "SequenceVariant": "SK", "InversionTime": None, "RepetitionTime": 8000,
        "EchoTime": 85, "DiffusionBValue": 1000.0,
    },
    "functional": {
        "ScanningSequence": ["EP", "GR"], "InversionTime": None, "RepetitionTime": 2000, "EchoTime": 30, "FlipAngle": 80,
    },
    "ADC map": {"ImageType": ["ORIGINAL", "PRIMARY", "ADC"]},
    "time of flight, by the angiography flag": GRADIENT
    | {"RepetitionTime": 21, "EchoTime": 3.6, "FlipAngle": 18, "AngioFlag": "Y"},
    "time of flight, GE": GE | GRADIENT
    | {"RepetitionTime": 25, "EchoTime": 2.7, "FlipAngle": 20, "ScanOptions": ["FC_SLICE_AX_GEMS", "VASCTOF_GEMS"]},
    "time of flight, Siemens by its sequence": SIEMENS | GRADIENT
    | {"RepetitionTime": 21, "EchoTime": 3.6, "FlipAngle": 18, "SequenceName": "*fi3d1r"},
    "susceptibility": GRADIENT | {"RepetitionTime": 28, "EchoTime": 20, "FlipAngle": 15},
    "balanced steady state": GRADIENT
    | {"SequenceVariant": ["SK", "SS"], "RepetitionTime": 4.5, "EchoTime": 2.2, "FlipAngle": 60},
    "phase of a field map": GRADIENT
    | {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"], "RepetitionTime": 488, "EchoTime": 7.4, "FlipAngle": 60},
    "magnitude of a field map": SIEMENS | GRADIENT
    | {"SequenceName": "*fm2d2r", "RepetitionTime": 488, "EchoTime": 4.9, "FlipAngle": 60},
    "phase image, Philips": PHILIPS | {"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]},
    "localizer": GRADIENT
    | {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "RepetitionTime": 8.6, "EchoTime": 4, "FlipAngle": 20},
    "MP2RAGE, first inversion": SIEMENS
    | {"RepetitionTime": 5000, "EchoTime": 2.98, "InversionTime": 700, "FlipAngle": 4},
    "MP2RAGE, second inversion": SIEMENS
    | {"RepetitionTime": 5000, "EchoTime": 2.98, "InversionTime": 2500, "FlipAngle": 5},
    "MP2RAGE, second inversion at 7 T": SIEMENS
    | {"RepetitionTime": 6000, "EchoTime": 2.7, "InversionTime": 2700, "FlipAngle": 5, "MagneticFieldStrength": 7},
    "MP2RAGE, second inversion by its image type": SIEMENS | {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "INV2"]},
    "fat image of a Dixon acquisition": GRADIENT
    | {"ImageType": ["ORIGINAL", "PRIMARY", "F", "F", "FFE"], "RepetitionTime": 6, "EchoTime": 2, "FlipAngle": 12},
    "MP2RAGE, T1 map": SIEMENS | {"ImageType": ["DERIVED", "PRIMARY", "M", "ND", "T1 MAP"]},
}  # fmt: skip
