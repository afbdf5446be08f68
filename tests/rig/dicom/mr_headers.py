"""Headers of MR sequences as scanners of several makers write them (synthetic), to be merged with MPRAGE's."""

from typing import Any

SIEMENS = {"Manufacturer": "SIEMENS"}
GE = {"Manufacturer": "GE MEDICAL SYSTEMS", "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}
PHILIPS = {"Manufacturer": "Philips", "ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]}
SPIN = {"ScanningSequence": "SE", "SequenceVariant": "SK", "InversionTime": None, "FlipAngle": 90}
INVERTED_SPIN = {"ScanningSequence": ["SE", "IR"], "SequenceVariant": ["SK", "SP", "MP"], "FlipAngle": 120}
CANON = {"Manufacturer": "CANON_MEC", "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}
HITACHI = {"Manufacturer": "Hitachi Medical Corporation", "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}
UIH = {"Manufacturer": "UIH", "ImageType": ["ORIGINAL", "PRIMARY", "M", "NONE"]}
PORTABLE = {"Manufacturer": "Hyperfine Research", "MagneticFieldStrength": 0.064, "SequenceVariant": "NONE"}
GRADIENT = {"ScanningSequence": "GR", "SequenceVariant": "SP", "InversionTime": None}

T1_WEIGHTED: dict[str, dict[str, Any]] = {
    "MPRAGE, Siemens 3 T": SIEMENS | {"RepetitionTime": 2300, "EchoTime": 2.98, "InversionTime": 900},
    "MPRAGE, Siemens 1.5 T": SIEMENS
    | {"RepetitionTime": 1900, "EchoTime": 3.9, "InversionTime": 1100, "FlipAngle": 15, "MagneticFieldStrength": 1.5},
    "MPRAGE, Siemens 7 T": SIEMENS
    | {"RepetitionTime": 2600, "EchoTime": 2.5, "InversionTime": 1100, "FlipAngle": 5, "MagneticFieldStrength": 7},
    "IR-SPGR, GE": GE
    | {
        "ScanningSequence": "GR",
        "SequenceVariant": ["SS", "SP", "SK"],
        "RepetitionTime": 7.3,
        "EchoTime": 3.0,
        "InversionTime": 400,
        "FlipAngle": 11,
    },
    "SPGR without inversion, GE": GE | GRADIENT | {"RepetitionTime": 8, "EchoTime": 3.2, "FlipAngle": 15},
    "T1-TFE without stated inversion, Philips": PHILIPS
    | GRADIENT
    | {"SequenceVariant": "MP", "RepetitionTime": 8.1, "EchoTime": 3.7, "FlipAngle": 8},
    "T1-FFE of older scanners": PHILIPS
    | GRADIENT
    | {"RepetitionTime": 25, "EchoTime": 4.6, "FlipAngle": 30, "MagneticFieldStrength": 1.5},
    "VIBE": SIEMENS | GRADIENT | {"RepetitionTime": 5.2, "EchoTime": 2.4, "FlipAngle": 12},
    "SPACE T1": SIEMENS | SPIN | {"RepetitionTime": 700, "EchoTime": 11, "FlipAngle": 120},
    "MPRAGE as GE writes it": GE
    | {
        "ScanningSequence": ["RM", "IR"],
        "SequenceVariant": "NONE",
        "RepetitionTime": 2428,
        "EchoTime": 2.2,
        "InversionTime": 1000,
        "FlipAngle": 8,
    },
    "IR-SPGR in GE's research mode": GE
    | {
        "ScanningSequence": ["RM", "IR"],
        "SequenceVariant": "NONE",
        "RepetitionTime": 6.9,
        "EchoTime": 2.9,
        "InversionTime": 1060,
        "FlipAngle": 8,
    },
    "MPRAGE of Siemens Vision, whose TI is a delay": SIEMENS
    | {
        "ScanningSequence": ["GR", "IR"],
        "SequenceVariant": "SP",
        "RepetitionTime": 9.7,
        "EchoTime": 4,
        "InversionTime": 20,
        "FlipAngle": 10,
        "MagneticFieldStrength": 1.5,
    },
    "MPRAGE, Canon": CANON
    | {"SequenceVariant": ["SP", "MP"], "RepetitionTime": 5.8, "EchoTime": 2.7, "InversionTime": 900, "FlipAngle": 9},
    "RF-spoiled steady state, Hitachi 0.3 T": HITACHI
    | GRADIENT
    | {"RepetitionTime": 30, "EchoTime": 11, "FlipAngle": 35, "MagneticFieldStrength": 0.3},
    "FSP, UIH": UIH
    | {
        "ScanningSequence": "GR",
        "SequenceVariant": ["SP", "MP"],
        "RepetitionTime": 7.2,
        "EchoTime": 3.1,
        "InversionTime": 750,
        "FlipAngle": 10,
    },
    "T1, portable 0.064 T": PORTABLE
    | {"ScanningSequence": ["SE", "IR"], "RepetitionTime": 1500, "EchoTime": 6, "InversionTime": 300, "FlipAngle": 90},
}

# Prepared, but the header does not say how: the voxels decide.
UNSTATED_PREPARATION: dict[str, dict[str, Any]] = {
    "root mean square of a multi-echo MPRAGE": SIEMENS
    | {
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER", "ND", "NORM", "MEAN"], "ScanOptions": "IR",
        "RepetitionTime": 2530, "EchoTime": 1.66, "InversionTime": None, "FlipAngle": 7,
    },
    "MPRAGE without inversion time": SIEMENS | {"RepetitionTime": 2300, "EchoTime": 2.98, "InversionTime": None},
    "MPRAGE without inversion time, 7 T": SIEMENS
    | {"RepetitionTime": 2200, "EchoTime": 2.5, "InversionTime": None, "FlipAngle": 7, "MagneticFieldStrength": 7},
    "MPRAGE without inversion time and code of inversion": SIEMENS
    | GRADIENT | {"SequenceVariant": "MP", "RepetitionTime": 1900, "EchoTime": 2.9, "FlipAngle": 9},
    "MPRAGE of which timing and angle alone are left": {
        "ScanningSequence": None, "SequenceVariant": None, "InversionTime": None, "RepetitionTime": 2300,
        "EchoTime": 2.98, "FlipAngle": 9,
    },
    "T1-TFE at a small angle, Philips 7 T": PHILIPS
    | GRADIENT
    | {
        "SequenceVariant": "MP", "RepetitionTime": 6.8, "EchoTime": 3.1, "FlipAngle": 5, "MagneticFieldStrength": 7,
    },
    "T1 without inversion time, portable 0.064 T": PORTABLE
    | {"ScanningSequence": ["SE", "IR"], "RepetitionTime": 1500, "EchoTime": 6, "InversionTime": None, "FlipAngle": 90},
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
    "time of flight, Philips by its rephased flow": PHILIPS
    | GRADIENT | {"ScanOptions": "FC", "RepetitionTime": 23, "EchoTime": 3.45, "FlipAngle": 18},
    "first echo of susceptibility imaging with rephased flow": PHILIPS
    | GRADIENT | {"ScanOptions": "FC", "RepetitionTime": 31, "EchoTime": 7.2, "FlipAngle": 17},
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
    "three-dimensional scout, Siemens 3 T": SIEMENS
    | GRADIENT | {"SequenceName": "*fl3d1_ns", "RepetitionTime": 3.15, "EchoTime": 1.37, "FlipAngle": 8},
    "three-dimensional scout, Siemens 1.5 T": SIEMENS
    | GRADIENT
    | {"RepetitionTime": 3.15, "EchoTime": 1.37, "FlipAngle": 8, "MagneticFieldStrength": 1.5},
    "localizer without its image type": SIEMENS
    | GRADIENT | {"RepetitionTime": 8.6, "EchoTime": 4, "FlipAngle": 20, "MRAcquisitionType": "2D"},
    "survey, Philips": PHILIPS
    | GRADIENT
    | {"SequenceVariant": "MP", "RepetitionTime": 11, "EchoTime": 4.6, "FlipAngle": 15, "MRAcquisitionType": "2D"},
    "coil reference, Philips": PHILIPS | GRADIENT | {"RepetitionTime": 4, "EchoTime": 0.75, "FlipAngle": 1},
    "calibration, GE": GE | GRADIENT | {"RepetitionTime": 1.6, "EchoTime": 0.5, "FlipAngle": 3},
    "sensitivity map, Canon": CANON | GRADIENT | {"RepetitionTime": 3.7, "EchoTime": 1.3, "FlipAngle": 10},
    "quick scout, UIH": UIH
    | GRADIENT | {"SequenceName": "gre_scout", "RepetitionTime": 7, "EchoTime": 3, "FlipAngle": 15},
    "map of the transmit field by two repetition times": SIEMENS
    | GRADIENT | {"RepetitionTime": 20, "EchoTime": 2, "FlipAngle": 60},
    "map of the transmit field, Philips": PHILIPS
    | GRADIENT
    | {"ImageType": ["ORIGINAL", "PRIMARY", "M_B1", "M", "B1"], "RepetitionTime": 8, "EchoTime": 3, "FlipAngle": 15},
    "angiography after contrast agent": SIEMENS
    | GRADIENT | {"SequenceName": "*fl3d1", "RepetitionTime": 3, "EchoTime": 1.1, "FlipAngle": 25},
    "time of flight, Siemens by its rephased flow": SIEMENS
    | GRADIENT | {"SequenceName": "*fl3d1r_ts", "RepetitionTime": 21, "EchoTime": 3.4, "FlipAngle": 18},
    "time of flight with magnetization transfer": GRADIENT
    | {"SequenceVariant": ["SP", "MTC"], "RepetitionTime": 25, "EchoTime": 3.5, "FlipAngle": 20},
    "time of flight, UIH": UIH
    | GRADIENT | {"SequenceName": "gre_tof", "RepetitionTime": 22, "EchoTime": 3.5, "FlipAngle": 18},
    "first echo of susceptibility mapping": GRADIENT | {"RepetitionTime": 45, "EchoTime": 4.9, "FlipAngle": 15},
    "ultrashort echo": GRADIENT | {"RepetitionTime": 5, "EchoTime": 0.07, "FlipAngle": 6},
    "Dixon for attenuation correction": SIEMENS
    | GRADIENT
    | {
        "ImageType": ["DERIVED", "PRIMARY", "DIXON", "IN_PHASE"], "SequenceName": "*fl3d2", "RepetitionTime": 3.6,
        "EchoTime": 1.23, "FlipAngle": 10,
    },
    "MP2RAGE, T1 map": SIEMENS | {"ImageType": ["DERIVED", "PRIMARY", "M", "ND", "T1 MAP"]},
}  # fmt: skip
