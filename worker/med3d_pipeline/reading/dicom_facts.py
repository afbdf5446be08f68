"""From the data sets that speak of one image to how it was acquired."""

from collections.abc import Hashable, Sequence

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID, ImplicitVRLittleEndian, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless
from pydicom.valuerep import VR

from med3d_pipeline.reading import dicom_elements as element
from med3d_pipeline.reading.agent_words import denies_agent
from med3d_pipeline.reading.description_hints import derivations_of, hints_of
from med3d_pipeline.reading.dicom_plane import SequenceFacts

GE_PARAMETERS, GE_IMAGE_KIND = 0x00430010, 0x0043102F
_GE_KINDS = {"0": "MAGNITUDE", "1": "PHASE", "2": "REAL", "3": "IMAGINARY"}
_LOSSY_SYNTAXES = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless})


OF_ONE_IMAGE = frozenset(
    tag_for_keyword(keyword)
    for keyword in ("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient", "TriggerTime", "AcquisitionDateTime")
)
"""What differs from image to image of a series, and is no fact of its sequence."""
MOST_KNOWN, MOST_CHARACTERS = 64, 16_384


class KnownFacts:
    """Facts of sequences, worked out once for the images that say the same: a series has hundreds."""

    def __init__(self) -> None:
        self._known: dict[Hashable, SequenceFacts] = {}

    def __len__(self) -> int:
        """Tell how many are kept at present."""
        return len(self._known)

    def of(self, chain: Sequence[Dataset]) -> SequenceFacts:
        """Give ``sequence_facts(chain)``."""
        said = _said(chain[0]) if len(chain) == 1 else None
        if said is None:
            return sequence_facts(chain)
        if said not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[said] = sequence_facts(chain)
        return self._known[said]


def _said(dataset: Dataset) -> Hashable | None:
    """Return all that a header says but of its one image; None for one that holds sequences, or says very much."""
    said: list[Hashable] = [transfer_syntax(dataset) if isinstance(dataset, FileDataset) else None]
    characters = 0
    for tag, found in dataset.items():
        if tag in OF_ONE_IMAGE:
            continue
        if found.VR == VR.SQ:
            return None
        # What pydicom has not converted yet it need not: bytes tell as much.
        value = found.value if isinstance(found, RawDataElement) else str(found.value)
        characters += len(value or "")
        if characters > MOST_CHARACTERS:
            return None
        said.append((int(tag), found.VR, value))
    return tuple(said)


def sequence_facts(chain: Sequence[Dataset]) -> SequenceFacts:
    """Gather the facts from ``chain``; of data sets that state the same the first is believed."""
    return SequenceFacts(
        modality=element.text(chain, "Modality").upper(),
        sop_class=element.text(chain, "SOPClassUID"),
        image_type=element.codes(chain, "FrameType", "ImageType"),
        component=element.text(chain, "ComplexImageComponent").upper() or _ge_component(chain),
        scanning_sequence=element.codes(chain, "ScanningSequence"),
        sequence_variant=element.codes(chain, "SequenceVariant"),
        scan_options=element.codes(chain, "ScanOptions"),
        sequence_name=element.text(chain, "PulseSequenceName", "SequenceName").lower().lstrip("*"),
        acquisition_type=element.text(chain, "MRAcquisitionType").upper(),
        acquisition_contrast=element.text(chain, "AcquisitionContrast").upper(),
        echo_pulse_sequence=element.text(chain, "EchoPulseSequence").upper(),
        tr_ms=_positive(chain, "RepetitionTime"),
        te_ms=_positive(chain, "EffectiveEchoTime", "EchoTime"),
        ti_ms=_positive(chain, "InversionTimes", "InversionTime"),
        flip_deg=_positive(chain, "FlipAngle"),
        echo_train_length=element.number(chain, "RFEchoTrainLength", "EchoTrainLength"),
        echo_number=element.number(chain, "EchoNumbers"),
        b_value=element.number(chain, "DiffusionBValue"),
        inversion_recovery=element.flag(chain, "InversionRecovery"),
        echo_planar=element.flag(chain, "EchoPlanarPulseSequence"),
        angiography=bool(element.flag(chain, "AngioFlag")) or _inflow(chain),
        volume_calculation=element.text(chain, "VolumeBasedCalculationTechnique").upper(),
        contrast_agent=bool(element.items(chain, "ContrastBolusAgentSequence"))
        or not denies_agent(element.text(chain, "ContrastBolusAgent")),
        description_hints=hints_of(element.text(chain, "SeriesDescription"), element.text(chain, "ProtocolName")),
        derivations=derivations_of(element.text(chain, "DerivationDescription"), _derivation_codes(chain)),
        lossy_compressed=element.text(chain, "LossyImageCompression") == "01" or _has_lossy_syntax(chain),
        slice_thickness_mm=_positive(chain, "SliceThickness"),
        slice_spacing_mm=_positive(chain, "SpacingBetweenSlices"),
        field_strength_t=_tesla(chain),
        manufacturer=element.text(chain, "Manufacturer")[:64] or None,
        model=element.text(chain, "ManufacturerModelName")[:64] or None,
        photometric=element.text(chain, "PhotometricInterpretation").upper(),
        samples_per_pixel=element.whole(chain, "SamplesPerPixel") or 1,
        bits_allocated=element.whole(chain, "BitsAllocated") or 0,
        bits_stored=element.whole(chain, "BitsStored") or 0,
        burned_in_text=element.text(chain, "BurnedInAnnotation").upper() == "YES",
    )


def _derivation_codes(chain: Sequence[Dataset]) -> list[str]:
    return [element.text([item], "CodeValue") for item in element.items(chain, "DerivationCodeSequence")]


def _has_lossy_syntax(chain: Sequence[Dataset]) -> bool:
    """Tell whether the pixels lie in a compression that always loses; of JPEG 2000 only the attribute tells."""
    files = [dataset for dataset in chain if isinstance(dataset, FileDataset)]
    return any(transfer_syntax(dataset) in _LOSSY_SYNTAXES for dataset in files)


def _ge_component(chain: Sequence[Dataset]) -> str:
    """GE writes magnitude, phase, real and imaginary images with one and the same ImageType."""
    for dataset in chain:
        if dataset.get(GE_PARAMETERS) is not None and dataset[GE_PARAMETERS].value == "GEMS_PARM_01":
            kind = dataset.get(GE_IMAGE_KIND)
            return _GE_KINDS.get(str(kind.value), "") if kind is not None else ""
    return ""


def _positive(chain: Sequence[Dataset], *keywords: str) -> float | None:
    found = element.number(chain, *keywords)
    return found if found and found > 0 else None


def _inflow(chain: Sequence[Dataset]) -> bool:
    return element.flag(chain, "TimeOfFlightContrast") is True


def _tesla(chain: Sequence[Dataset]) -> float | None:
    """Return MagneticFieldStrength in tesla; some scanners state it in gauss."""
    found = _positive(chain, "MagneticFieldStrength")
    return found / 10_000 if found and found > 100 else found


def transfer_syntax(dataset: FileDataset) -> UID:
    """Return how the file is encoded; implicit VR little endian where it does not say."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    return UID(syntax) if syntax else ImplicitVRLittleEndian
