"""Words and codes of headers as people and vendors write them, each read by the pipeline and through a working copy.

No picture is made: a row says what the reader, and a worker that sees what the service left of the header, make of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from field.tables import Row
from med3d_pipeline.reading.agent_words import denies_agent
from med3d_pipeline.reading.derivation import derivation_fault
from med3d_pipeline.reading.description_hints import derivations_of, hints_of
from med3d_pipeline.reading.dicom_plane import SequenceFacts
from med3d_pipeline.reading.mr_contrast import Weighting
from med3d_pipeline.reading.series_identity import MR_IMAGE, sequence_identity
from med3d_service.studies.working_copy.vocabulary import known_agent, known_derivation, known_description

AGENT = "contrast agent"

AFTER_AGENT = (
    "T1 +C", "T1W+C", "AX T1 C+", "T1 C+", "t1_mprage_sag +Gd", "t1_mprage_sag_p2_iso_KM", "t1_mpr_ns_sag_post",
    "3D T1 POST GAD", "T1 SAG APRES GADO", "T1 GADO", "T1 Gd+", "T1W_3D_TFE_Gd", "T1 nach KM", "T1 mit KM",
    "MPRAGE KM", "T1 CE", "T1_ce", "T1 3D con mdc", "T1 dopo mdc", "T1 m.d.c.", "T1 con contraste", "T1 con CIV",
    "T1 c/c", "T1 com contraste", "T1 con Gd", "T1 p\xf3s contraste", "T1 POS GD", "T1 POS CONTRASTE",
    "T1 med kontrast", "T1 kontrast", "T1 efter kontrast", "T1 +K", "T1 z kontrastem", "T1 po kontra\u015bcie",
    "T1 met contrast", "T1 na gado", "T1 po KL", "T1 +CM", "Ax T1 FSPGR+C", "BRAVO +C", "Sag CUBE T1 +C",
    "T1W 3D TFE +C", "T1W post-Gd", "postcontrast", "POST CON", "T1 POSTCON", "postgado", "SAG T1 w/ contrast",
    "T1 with contrast", "T1 W/C", "T1 WITH GAD", "T1 contrasted", "T1+contrast",
    "T1 \u0441 \u043a\u043e\u043d\u0442\u0440\u0430\u0441\u0442\u043e\u043c", "T1 \u0441 \u041a\u0423",
    "T1 \u9020\u5f71", "T1 \u589e\u5f3a", "T1 \uc870\uc601", "T1 kontrastl\u0131", "T1 IV kontrast",
    "T1-weighted post contrast", "MPRAGE_Gd_sag", "T1_Gd_MPR_tra", "t1_vibe_dixon_post KM", "T1 TSE +Gd ax", "T1CE",
    "t1_gd", "T1-Gd", "T1Gd", "T1c", "T1_C+_3D", "SAG T1 3D POST", "T1 POST-CONTRAST", "MPRAGE-POST",
    "t1_mprage_KMGabe", "T1 MPRAGE contrast-enhanced", "T1 inject\xe9", "T1 avec injection", "T1 IV+", "T1 +IV",
    "T1 GADOVIST", "T1 Dotarem", "T1 Clariscan", "T1 Gadavist", "AX 3D T1 BRAVO C+", "T1 inj", "gad T1", "T1 Gad+",
    "T1 contraste", "C+ T1",
    "T1 \u03bc\u03b5\u03c4\u03ac \u03c3\u03ba\u03b9\u03b1\u03b3\u03c1\u03b1\u03c6\u03b9\u03ba\u03cc",
    "T1 tras contraste", "T1 KM+", "ce3D T1", "CE_T1", "T1 varjoaine", "T1 tehoste", "T1 gd-dtpa",
)  # fmt: skip
WITHOUT_AGENT = (
    "T1 posterior fossa", "T1 posture", "T1 post op", "T1 post-op", "postop T1", "T1 pre contrast",
    "T1 sin contraste", "T1 ohne KM", "T1 nativ", "T1 vor KM", "T1 pre Gd", "T1 sans gado", "T1 senza mdc", "T1 S/C",
    "T1 w/o", "T1 pre", "non contrast T1", "noncontrast T1", "T1 precontrast", "T1 without contrast", "T1 -C",
    "T1 C-", "T1 w/o C", "T1 post-processed", "T1 postnatal", "T1 POSTMORTEM", "T1 post covid", "T1 postpartum",
    "T1 post stroke", "T1 post-dbs", "T1 post RT", "T1 w/o contrast", "T1 GRAPPA", "CEREBRO T1",
    "T1 injury protocol", "T1 Clinical+Cognitive", "T1 utan kontrast", "T1 uden kontrast", "T1 bez kontrastu",
    "T1 ilman tehostetta", "T1 \u0431\u0435\u0437 \u043a\u043e\u043d\u0442\u0440\u0430\u0441\u0442\u0430",
    "T1 \u5e73\u626b", "T1 plain", "T1 non enhanced", "T1 unenhanced", "T1 non-CE", "T1 before contrast",
    "T1 avant injection", "T1 sans injection", "T1 pre-gado", "T1 pre Gad", "T1 pr\xe9 contraste",
    "T1 senza contrasto", "T1 zonder contrast", "T1 geen contrast", "T1 nogd", "T1 noC", "T1 kontrastsiz",
    "T1 post surgery", "T1 postsurgical", "T1 post-treatment", "T1 high contrast", "T1 post exercise",
    "T1 post session", "MPRAGE posttest", "T1 post training", "T1 KMH study", "T1_post-intervention",
    "SAG T1 CERVICAL", "T1 3D cerebro", "T1 ENHANCE IQ", "T1 ceretom", "T1_contrast_optimised", "T1 post hoc",
    "T1 MPRAGE post ECT", "T1 post-TMS", "T1 post visit", "T1 post baseline",
)  # fmt: skip
NO_BOLUS = (
    "NONE", "no", "None.", "N", "0", "0 ml", "w/o", "ohne", "Kein KM", "sin contraste", "unknown", "NA", "N/A", "-",
    "--", "none given", "NO CONTRAST", "Non", "nessuno", "without contrast", "no contrast administered", "negative",
    "nein", "0ML", "FALSE", "not given", "nicht verabreicht", "geen", "ingen", "utan kontrast", "\u017e\xe1dn\xe1",
    "\u043d\u0435\u0442", "\u65e0", "\u306a\u3057", "nativ", "native", "plain", "*", ".", "?", '""', "n.a.",
    "Not Applicable", "not specified", "not used", "nothing", "refused", "declined", "No IV", "IV NO", "NO GAD",
    "0 cc", "0.0", "saline",
)  # fmt: skip
BOLUS = (
    "Gadovist", "DOTAREM", "10 ml Gadovist", "Gd-DTPA", "Magnevist", "7.5", "YES", "1", "IV", "Gd", "gadobutrol",
    "MultiHance 10", "KM", "contrast", "CONTRAST: 10ML", "Clariscan 0.2 ml/kg", "Applied", "oral & IV", "ProHance",
    "Elucirem", "15cc omniscan",
)  # fmt: skip


@dataclass(frozen=True)
class Derived:
    """What a derived series says of itself: ImageType, SeriesDescription, DerivationDescription, its codes."""

    image_type: str
    description: str = ""
    derivation: str = ""
    codes: tuple[str, ...] = ()

    def is_refused(self, description: str, derivation: str) -> bool:
        """Say whether it is no scan any more, by these words of it."""
        facts = SequenceFacts(
            modality="MR",
            sop_class=MR_IMAGE,
            image_type=tuple(self.image_type.split("\\")),
            description_hints=hints_of(description),
            derivations=derivations_of(derivation, self.codes),
        )
        identity = sequence_identity(facts)
        other = identity is not None and identity.weighting is Weighting.OTHER
        return other or derivation_fault(facts) is not None


WHOLE_SCANS: tuple[Derived, ...] = (
    Derived("ORIGINAL\\PRIMARY\\M\\NORM\\DIS2D"),
    Derived("ORIGINAL\\PRIMARY\\M\\NORM\\DIS3D\\FM\\FIL"),
    Derived("DERIVED\\PRIMARY\\M\\ND\\NORM"),
    Derived("DERIVED\\PRIMARY\\M\\NORM\\DIS3D", "t1_mprage_sag_DIS3D"),
    Derived("DERIVED\\PRIMARY", "MPR; GradWarp; B1 Correction; N3; Scaled", "MPR; GradWarp; B1 Correction; N3; Scaled"),
    Derived("DERIVED\\PRIMARY", "MPR____N3__Scaled_2", "MPR; ; N3; Scaled_2"),
    Derived("DERIVED\\SECONDARY", "MPR-R; GradWarp; B1 Correction"),
    Derived("DERIVED\\SECONDARY", "ADNI_Brain_MPRAGE MT1; GradWarp; N3m", "MT1; GradWarp; N3m"),
    Derived("DERIVED\\SECONDARY", "defaced MPRAGE", "Defaced with mri_deface"),
    Derived("DERIVED\\SECONDARY", "T1w", "anonymized by pydeface"),
    Derived("DERIVED\\SECONDARY", "T1w", "quickshear"),
    Derived("DERIVED\\SECONDARY", "t1_mprage mask_face", "mask_face"),
    Derived("DERIVED\\SECONDARY", "T1 skull stripped", "Skull stripping"),
    Derived("DERIVED\\SECONDARY"),
    Derived("DERIVED\\SECONDARY\\AXIAL", "MPRAGE"),
    Derived("DERIVED\\PRIMARY\\M\\ND\\NORM\\COMPOSED"),
    Derived("DERIVED\\SECONDARY\\OTHER", "SubtleMR_T1_MPRAGE", "SubtleMR enhanced image"),
    Derived("DERIVED\\PRIMARY\\OTHER", "Sag T1 MPRAGE AIR Recon DL", "AIR Recon DL"),
    Derived("ORIGINAL\\PRIMARY\\M\\NORM\\DIS3D\\DRB\\DRS"),
    Derived("DERIVED\\SECONDARY", "SyMRI T1W 3D", "Synthetic T1W"),
    Derived("DERIVED\\PRIMARY\\MEAN", "MEMPRAGE RMS"),
    Derived("DERIVED\\SECONDARY\\MASKED", "T1"),
    Derived("DERIVED\\SECONDARY\\NONE\\NONE", "T1 nifti2dicom", "nii2dcm"),
    Derived("DERIVED\\SECONDARY", "T1 resampled 1mm", "Resampled to 1 mm isotropic"),
    Derived("DERIVED\\SECONDARY", "orig", "FreeSurfer orig.mgz"),
    Derived("DERIVED\\PRIMARY", "t1_mprage", "JPEG 2000 lossless"),
    Derived("DERIVED\\SECONDARY", "T1_MPRAGE_denoised", "non-local means denoised"),
    Derived("DERIVED\\SECONDARY", "T1", "Mapped to 12 bits"),
    Derived("DERIVED\\SECONDARY", "T1", "FA corrected"),
    Derived("DERIVED\\PRIMARY\\M\\PFP", "T1 GRE MPRAGE", "Partial Fourier"),
    Derived("DERIVED\\SECONDARY\\ADDITION", "MEMPRAGE sum"),
    Derived("DERIVED\\SECONDARY", "T1 MPRAGE", "Lossy compressed, curved reconstruction kernel"),
    Derived("DERIVED\\SECONDARY", "T1 MPRAGE", "Bias field map corrected"),
    Derived("DERIVED\\SECONDARY", "T1 no difference"),
)
NO_SCANS: tuple[Derived, ...] = (
    Derived("DERIVED\\SECONDARY\\MPR\\CSA MPR\\\\CSAPARALLEL"),
    Derived("DERIVED\\SECONDARY\\REFORMATTED\\AVERAGE"),
    Derived("DERIVED\\SECONDARY\\REFORMAT"),
    Derived("DERIVED\\PRIMARY\\MPR_THICK", "T1"),
    Derived("DERIVED\\SECONDARY\\THICK_MPR", "T1"),
    Derived("DERIVED\\SECONDARY\\MIP"),
    Derived("DERIVED\\SECONDARY\\MIP THICK"),
    Derived("DERIVED\\SECONDARY\\MIP_SLAB", "T1"),
    Derived("DERIVED\\SECONDARY\\PROJECTION IMAGE\\M\\FFE"),
    Derived("DERIVED\\SECONDARY\\COLLAPSE", "T1"),
    Derived("DERIVED\\SECONDARY\\VRT"),
    Derived("DERIVED\\SECONDARY\\3D RENDERING"),
    Derived("DERIVED\\SECONDARY\\RENDERED"),
    Derived("DERIVED\\PRIMARY\\M\\SUB"),
    Derived("DERIVED\\SECONDARY\\SUBTRACT"),
    Derived("DERIVED\\PRIMARY\\SUBTRACTED"),
    Derived("DERIVED\\PRIMARY\\M\\ND", "t1_vibe_post_SUB"),
    Derived("DERIVED\\SECONDARY", "T1 SUB"),
    Derived("DERIVED\\SECONDARY", "T1 subtraktion"),
    Derived("DERIVED\\SECONDARY", "soustraction T1"),
    Derived("DERIVED\\SECONDARY", "T1 Reformatted tra", "MPR"),
    Derived("DERIVED\\SECONDARY", "T1", "Multiplanar reconstruction"),
    Derived("DERIVED\\SECONDARY", "MIP T1 tra"),
    Derived("DERIVED\\SECONDARY", "MIPs"),
    Derived("DERIVED\\PRIMARY", "T1", "Maximum intensity projection"),
    Derived("DERIVED\\SECONDARY", "T1 MinIP"),
    Derived("DERIVED\\SECONDARY", "T1 map"),
    Derived("DERIVED\\PRIMARY", "T1 mapping MOLLI", "T1 map"),
    Derived("DERIVED\\SECONDARY", "R1 map", "R1 Map"),
    Derived("DERIVED\\SECONDARY", "SyMRI R1"),
    Derived("DERIVED\\SECONDARY", "qT1"),
    Derived("DERIVED\\SECONDARY", "Myelin map SyMRI"),
    Derived("DERIVED\\SECONDARY", "T1w/T2w ratio", "T1w/T2w ratio"),
    Derived("DERIVED\\SECONDARY\\DIVISION", "T1"),
    Derived("DERIVED\\SECONDARY\\RATIO", "T1"),
    Derived("DERIVED\\SECONDARY", "T1 aparc+aseg"),
    Derived("DERIVED\\SECONDARY", "brain mask"),
    Derived("DERIVED\\SECONDARY", "GM probability map"),
    Derived("DERIVED\\SECONDARY", "c1 T1 gray matter segment"),
    Derived("DERIVED\\SECONDARY", "tissue classification"),
    Derived("DERIVED\\SECONDARY", "T1 aparc"),
    Derived("DERIVED\\SECONDARY", "Segmented T1", "Segmentation by FAST"),
    Derived("DERIVED\\SECONDARY", "T1", "", ("113072",)),
    Derived("DERIVED\\SECONDARY", "T1", "", ("113062",)),
    Derived("DERIVED\\SECONDARY", "z-score map T1"),
    Derived("DERIVED\\SECONDARY\\FUSION", "T1"),
    Derived("DERIVED\\SECONDARY", "T1 fused PET"),
    Derived("DERIVED\\SECONDARY\\T1 MAP"),
)


def word_rows() -> list[Row]:
    """Return a row for each."""
    return [*_descriptions(), *_agents(), *_derived()]


def _row(name: str, *, wanted: bool, read: bool, copied: bool) -> Row:
    return Row(f"words:{name}", str(wanted), f"{read}, by the working copy {copied}", read == copied == wanted)


def _descriptions() -> Iterator[Row]:
    for wanted, texts in ((True, AFTER_AGENT), (False, WITHOUT_AGENT)):
        for text in texts:
            read, copied = hints_of(text), hints_of(known_description(text))
            yield _row(f"agent in {text}", wanted=wanted, read=AGENT in read, copied=AGENT in copied)


def _agents() -> Iterator[Row]:
    for wanted, texts in ((True, NO_BOLUS), (False, BOLUS)):
        for text in texts:
            yield _row(
                f"no bolus {text}", wanted=wanted, read=denies_agent(text), copied=denies_agent(known_agent(text))
            )


def _derived() -> Iterator[Row]:
    for wanted, all_of in ((False, WHOLE_SCANS), (True, NO_SCANS)):
        for one in all_of:
            read = one.is_refused(one.description, one.derivation)
            copied = one.is_refused(known_description(one.description), known_derivation(one.derivation))
            name = f"refuses {one.image_type} {one.description} {one.derivation} {' '.join(one.codes)}".rstrip()
            yield _row(name, wanted=wanted, read=read, copied=copied)
