"""The allow-list: which DICOM attributes go into the working copy, and by which rule. What is not here is left out.

After PS3.15 Annex E (basic profile, with the options Retain Patient Characteristics for sex alone and Retain Device
Identity cut down to known words), stricter: texts go through closed vocabularies, dates and private elements go.
"""

from enum import Enum, auto

from pydicom.datadict import tag_for_keyword


class Rule(Enum):
    """What happens to a value."""

    NUMBER = auto()  # stays if it is a number
    CODE = auto()  # known codes stay, others become stand-ins
    UID = auto()  # becomes a stand-in
    CLASS_UID = auto()  # stays if DICOM defines it
    SEX = auto()  # stays if F, M or O
    MANUFACTURER = auto()  # known words stay
    MODEL = auto()
    DESCRIPTION = auto()
    SEQUENCE_NAME = auto()
    AGENT = auto()
    ITEMS = auto()  # a sequence: its items by these same rules
    EMPTY_ITEM = auto()  # a sequence of which only the presence matters


_KEYWORDS = {
    Rule.NUMBER: """
        Rows Columns NumberOfFrames SamplesPerPixel BitsAllocated BitsStored HighBit PixelRepresentation
        PlanarConfiguration PixelSpacing SliceThickness SpacingBetweenSlices ImagePositionPatient
        ImageOrientationPatient SliceLocation RescaleSlope RescaleIntercept WindowCenter WindowWidth PixelAspectRatio
        RepetitionTime EchoTime EffectiveEchoTime InversionTime InversionTimes FlipAngle EchoTrainLength
        RFEchoTrainLength GradientEchoTrainLength EchoNumbers NumberOfAverages MagneticFieldStrength ImagingFrequency
        PercentSampling PercentPhaseFieldOfView PixelBandwidth NumberOfPhaseEncodingSteps AcquisitionMatrix
        ReconstructionDiameter DiffusionBValue DiffusionGradientOrientation ParallelReductionFactorInPlane
        TemporalPositionIdentifier TemporalPositionIndex NumberOfTemporalPositions InStackPositionNumber
        DimensionIndexValues DimensionIndexPointer FunctionalGroupPointer FrameAcquisitionNumber AcquisitionNumber
        SeriesNumber InstanceNumber GantryDetectorTilt
    """,
    Rule.CODE: """
        ImageType FrameType Modality ScanningSequence SequenceVariant ScanOptions MRAcquisitionType AngioFlag
        PhotometricInterpretation BodyPartExamined PatientPosition InPlanePhaseEncodingDirection RescaleType
        PixelPresentation VolumetricProperties VolumeBasedCalculationTechnique ComplexImageComponent
        AcquisitionContrast EchoPulseSequence EchoPlanarPulseSequence InversionRecovery TimeOfFlightContrast
        SteadyStatePulseSequence Spoiling MultipleSpinEcho MultiPlanarExcitation PhaseContrast SegmentedKSpaceTraversal
        GeometryOfKSpaceTraversal RectilinearPhaseEncodeReordering DiffusionDirectionality DimensionOrganizationType
        LossyImageCompression StackID ResonantNucleus
    """,
    Rule.UID: "StudyInstanceUID SeriesInstanceUID SOPInstanceUID FrameOfReferenceUID",
    Rule.CLASS_UID: "SOPClassUID",
    Rule.SEX: "PatientSex",
    Rule.MANUFACTURER: "Manufacturer",
    Rule.MODEL: "ManufacturerModelName",
    Rule.DESCRIPTION: "SeriesDescription ProtocolName",
    Rule.SEQUENCE_NAME: "SequenceName PulseSequenceName",
    Rule.AGENT: "ContrastBolusAgent",
    Rule.ITEMS: """
        SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence FrameContentSequence PlanePositionSequence
        PlaneOrientationSequence PixelMeasuresSequence PixelValueTransformationSequence MRImageFrameTypeSequence
        MRTimingAndRelatedParametersSequence MREchoSequence MRModifierSequence MRImagingModifierSequence
        MRDiffusionSequence DiffusionGradientDirectionSequence MRFOVGeometrySequence MRAveragesSequence
        FrameVOILUTSequence DimensionIndexSequence
    """,
    Rule.EMPTY_ITEM: "ContrastBolusAgentSequence MRMetaboliteMapSequence",
}


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise LookupError(keyword)
    return tag


RULES: dict[int, Rule] = {_tag(keyword): rule for rule, words in _KEYWORDS.items() for keyword in words.split()}
"""By tag, as an integer."""
