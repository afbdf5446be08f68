"""Protocols of each vendor as their headers state them, held against what the reader makes of them: T1-weighted, or not.

What the reader leaves to the voxels counts as let through.
"""

from field.tables import Row
from med3d_pipeline.reading.description_hints import hints_of
from med3d_pipeline.reading.dicom_plane import SequenceFacts
from med3d_pipeline.reading.mr_contrast import Weighting, judge_contrast
from med3d_pipeline.reading.series_identity import MR_IMAGE, image_fault, sequence_identity

GR, IR, SE = ("GR",), ("GR", "IR"), ("SE",)
E1 = f"{MR_IMAGE}.1"


def facts(description: str = "", **stated: object) -> SequenceFacts:
    """Facts of a 3 T gradient echo in three dimensions, but for what is stated."""
    common: dict[str, object] = {
        "modality": "MR",
        "sop_class": MR_IMAGE,
        "photometric": "MONOCHROME2",
        "acquisition_type": "3D",
        "image_type": ("ORIGINAL", "PRIMARY", "M", "ND"),
        "field_strength_t": 3.0,
        "scanning_sequence": GR,
        "description_hints": hints_of(description),
    }
    return SequenceFacts(**(common | stated))  # type: ignore[arg-type]


# fmt: off
PROTOCOLS = (
    ("Siemens XA60 enhanced MPRAGE", True, facts(sop_class=E1, scanning_sequence=(), echo_pulse_sequence="GRADIENT", acquisition_contrast="T1", tr_ms=2300, te_ms=2.32, ti_ms=900, flip_deg=8, image_type=("ORIGINAL", "PRIMARY", "T1", "NONE", "M"))),
    ("Siemens XA enhanced, contrast UNKNOWN", True, facts(sop_class=E1, scanning_sequence=(), echo_pulse_sequence="GRADIENT", acquisition_contrast="UNKNOWN", inversion_recovery=True, tr_ms=2000, te_ms=2.2, ti_ms=880, flip_deg=8)),
    ("Siemens XA MPRAGE deep resolve DRB", True, facts(image_type=("ORIGINAL", "PRIMARY", "M", "NORM", "DIS3D", "DRB"), scanning_sequence=IR, sequence_variant=("SK", "SP", "MP"), tr_ms=2200, te_ms=2.5, ti_ms=900, flip_deg=8)),
    ("Siemens CS-MPRAGE wip", True, facts("WIP_cs_mprage", scanning_sequence=IR, sequence_variant=("SK", "SP", "MP"), tr_ms=2300, te_ms=2.9, ti_ms=900, flip_deg=9)),
    ("Siemens StarVIBE", True, facts("t1_starvibe_fs_tra", sequence_name="fl3d1", sequence_variant=("SP",), scan_options=("FS",), tr_ms=5.0, te_ms=2.2, flip_deg=12)),
    ("Siemens VIBE Dixon water", True, facts("t1_vibe_dixon_tra_W", sequence_name="fl3d2", sequence_variant=("SP",), image_type=("DERIVED", "PRIMARY", "DIXON", "WATER"), tr_ms=5.6, te_ms=2.46, flip_deg=12)),
    ("Siemens VIBE Dixon fat", False, facts("t1_vibe_dixon_tra_F", sequence_name="fl3d2", sequence_variant=("SP",), image_type=("DERIVED", "PRIMARY", "DIXON", "FAT"), tr_ms=5.6, te_ms=2.46, flip_deg=12)),
    ("Siemens SPACE T1", True, facts(scanning_sequence=SE, sequence_variant=("SK", "SP"), sequence_name="spc_91", tr_ms=600, te_ms=7.2, flip_deg=120)),
    ("Siemens SPACE T1 dark blood", True, facts("t1_space_db_sag", scanning_sequence=SE, sequence_variant=("SK", "SP"), tr_ms=700, te_ms=22, flip_deg=120)),
    ("Siemens SPACE FLAIR", False, facts("t2_space_dark-fluid", scanning_sequence=("SE", "IR"), tr_ms=5000, te_ms=388, ti_ms=1800, flip_deg=120)),
    ("Siemens SPACE T2", False, facts(scanning_sequence=SE, tr_ms=3200, te_ms=408, flip_deg=120)),
    ("Siemens DIR", False, facts("t2_space_dir", scanning_sequence=("SE", "IR"), tr_ms=7500, te_ms=318, ti_ms=3000, flip_deg=120)),
    ("Siemens MP2RAGE UNI", True, facts(image_type=("DERIVED", "PRIMARY", "M", "ND", "UNI"), scanning_sequence=IR, tr_ms=5000, te_ms=2.98, ti_ms=700, flip_deg=4)),
    ("Siemens MP2RAGE UNI-DEN", True, facts(image_type=("DERIVED", "PRIMARY", "M", "ND", "UNI-DEN"), scanning_sequence=IR, tr_ms=5000, te_ms=2.98, ti_ms=700, flip_deg=4)),
    ("Siemens MP2RAGE INV1", False, facts(image_type=("ORIGINAL", "PRIMARY", "M", "ND", "INV1"), scanning_sequence=IR, tr_ms=5000, te_ms=2.98, ti_ms=700, flip_deg=4)),
    ("Siemens MP2RAGE INV2 w/o token", False, facts("mp2rage_INV2", scanning_sequence=IR, tr_ms=5000, te_ms=2.98, ti_ms=2500, flip_deg=5)),
    ("Siemens MP2RAGE INV2, XA, TR 4000, TI 2000, token gone", False, facts("t1_mp2rage_INV2", scanning_sequence=IR, tr_ms=4000, te_ms=2.2, ti_ms=2220, flip_deg=6)),
    ("Siemens MP2RAGE T1 map", False, facts("mp2rage_T1_Images", image_type=("DERIVED", "PRIMARY", "T1 MAP", "ND"), scanning_sequence=IR, tr_ms=5000, te_ms=2.98, ti_ms=700, flip_deg=4)),
    ("Siemens AAHead_Scout MPR", False, facts("AAHead_Scout_64ch_MPR_sag", image_type=("DERIVED", "PRIMARY", "MPR", "ND", "NORM"), sequence_name="fl3d1_ns", tr_ms=3.15, te_ms=1.37, flip_deg=8)),
    ("Siemens 7T MPRAGE", True, facts(field_strength_t=7.0, scanning_sequence=IR, tr_ms=2500, te_ms=2.6, ti_ms=1050, flip_deg=5)),
    ("Siemens Free.Max 0.55 MPRAGE", True, facts(field_strength_t=0.55, scanning_sequence=IR, tr_ms=1800, te_ms=3.6, ti_ms=550, flip_deg=9)),
    ("Siemens gre QSM", False, facts("gre_qsm_tra", scanning_sequence=GR, sequence_variant=("SP",), tr_ms=44, te_ms=6.2, flip_deg=15)),
    ("Siemens fl3d MT", False, facts("gre_mt_on", sequence_variant=("SP", "MTC"), tr_ms=37, te_ms=4.9, flip_deg=7)),
    ("Siemens fl3d T1 anatomy TR 15 flip 25", True, facts("t1_fl3d_sag", sequence_name="fl3d1", sequence_variant=("SP",), tr_ms=15, te_ms=4.5, flip_deg=25)),
    ("Siemens PETRA", False, facts("petra", sequence_variant=("SP",), tr_ms=3.3, te_ms=0.07, flip_deg=6)),
    ("Siemens TOF", False, facts("TOF_3D", sequence_name="fi3d1r", sequence_variant=("SP",), scan_options=("FC",), tr_ms=21, te_ms=3.4, flip_deg=18)),
    ("Siemens TWIST", False, facts("TWIST_head", sequence_name="fl3d1", sequence_variant=("SP",), tr_ms=2.8, te_ms=1.0, flip_deg=20)),
    ("Siemens B1 tfl", False, facts("tfl_b1map", sequence_name="tfl2d1_16", acquisition_type="2D", sequence_variant=("SK", "SP", "MP"), tr_ms=5000, te_ms=2.2, flip_deg=8)),
    ("GE BRAVO AIR DL", True, facts("Sag BRAVO ARDL", manufacturer="GE", tr_ms=8.5, te_ms=3.2, ti_ms=450, flip_deg=12, sequence_variant=("SS", "SP", "SK"))),
    ("GE MPRAGE Premier", True, facts(scanning_sequence=("RM", "IR"), sequence_variant=("NONE",), tr_ms=2200, te_ms=2.9, ti_ms=900, flip_deg=8)),
    ("GE MPRAGE TR 7, TI 900", True, facts("SAG MPRAGE", scanning_sequence=("GR",), sequence_variant=("SS", "SP", "SK"), tr_ms=7.6, te_ms=3.1, ti_ms=900, flip_deg=8)),
    ("GE CUBE T1", True, facts("Sag CUBE T1", scanning_sequence=SE, sequence_variant=("SK",), tr_ms=600, te_ms=13, flip_deg=90)),
    ("GE CUBE FLAIR", False, facts("Sag CUBE T2 FLAIR", scanning_sequence=("SE", "IR"), tr_ms=6000, te_ms=120, ti_ms=1800, flip_deg=90)),
    ("GE SPGR TR 35 flip 45 (1.5T 90s)", True, facts("3D SPGR", field_strength_t=1.5, sequence_variant=("SS", "SP"), tr_ms=35, te_ms=5, flip_deg=45)),
    ("GE LAVA", True, facts("Ax LAVA T1", sequence_variant=("SS", "SP", "SK"), tr_ms=5.5, te_ms=2.0, flip_deg=12)),
    ("GE SWAN", False, facts("SWAN", sequence_variant=("SS", "SP"), tr_ms=39, te_ms=24, flip_deg=15)),
    ("GE FIESTA", False, facts("3D FIESTA", sequence_variant=("SS", "SK"), tr_ms=5.2, te_ms=2.1, flip_deg=60)),
    ("GE 3-plane loc", False, facts("3Plane Loc SSFSE", scanning_sequence=SE, acquisition_type="2D", tr_ms=1200, te_ms=80, flip_deg=90)),
    ("GE ASSET cal", False, facts("ASSET Cal", acquisition_type="2D", sequence_variant=("SP",), tr_ms=150, te_ms=1.9, flip_deg=50)),
    ("GE 3D ASSET cal", False, facts("3D ASSET calibration", sequence_variant=("SP",), tr_ms=4.0, te_ms=1.6, flip_deg=5)),
    ("GE ZTE", False, facts("oZTEo", sequence_variant=("SP",), tr_ms=1.4, te_ms=0.016, flip_deg=1)),
    ("GE silenz MRA", False, facts("SILENT MRA", sequence_variant=("SP",), tr_ms=1.2, te_ms=0.016, flip_deg=3)),
    ("GE Inhance", False, facts("Inhance 3D Velocity", tr_ms=7.0, te_ms=2.7, flip_deg=10)),
    ("GE EDR whole brain FSPGR no TI", True, facts("Ax FSPGR 3D", sequence_variant=("SS", "SP", "SK"), tr_ms=8.2, te_ms=3.2, flip_deg=12)),
    ("Philips T1W_3D_TFE", True, facts("T1W_3D_TFE_sag", manufacturer="Philips", sequence_variant=("MP",), tr_ms=8.2, te_ms=3.8, flip_deg=8, image_type=("ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"))),
    ("Philips T1 TFE enhanced", True, facts("sT1W_3D_TFE", sop_class=E1, scanning_sequence=(), echo_pulse_sequence="GRADIENT", acquisition_contrast="T1", tr_ms=6.7, te_ms=3.0, flip_deg=8)),
    ("Philips T1W VISTA/BrainView T1", True, facts("3D_Brain_VIEW_T1", scanning_sequence=SE, tr_ms=500, te_ms=28, flip_deg=90)),
    ("Philips T2 VISTA", False, facts("3D_VIEW_T2", scanning_sequence=SE, tr_ms=2500, te_ms=254, flip_deg=90)),
    ("Philips SmartBrain", False, facts("SmartBrain", tr_ms=5.1, te_ms=2.5, flip_deg=10)),
    ("Philips Survey", False, facts("Survey", acquisition_type="2D", tr_ms=11, te_ms=4.6, flip_deg=15)),
    ("Philips SWIp", False, facts("SWIp", sequence_variant=("SP",), tr_ms=31, te_ms=7.2, flip_deg=17)),
    ("Philips s3DI", False, facts("s3DI_MC_HR", sequence_variant=("SP",), tr_ms=23, te_ms=3.5, flip_deg=18)),
    ("Philips PCA", False, facts("sV3D_PCA", tr_ms=18, te_ms=6.1, flip_deg=10, image_type=("ORIGINAL", "PRIMARY", "M_PCA", "M", "PCA"))),
    ("Philips FFE PHASE real", False, facts(image_type=("ORIGINAL", "PRIMARY", "R_FFE", "R", "FFE"), tr_ms=8.2, te_ms=3.8, flip_deg=8, sequence_variant=("MP",))),
    ("Philips DREAM B1", False, facts("DREAM_B1", tr_ms=5.0, te_ms=2.3, flip_deg=10, image_type=("ORIGINAL", "PRIMARY", "M_B1", "M", "B1"))),
    ("Canon FFE3D MPRAGE", True, facts("MPRAGE", manufacturer="CANON_MEC", sequence_variant=("MP", "SP"), tr_ms=6.2, te_ms=2.6, ti_ms=900, flip_deg=9)),
    ("Canon 3D FFE T1 steady", True, facts("3D FFE T1", manufacturer="TOSHIBA_MEC", field_strength_t=1.5, sequence_variant=("SS",), tr_ms=13.5, te_ms=5.5, flip_deg=20)),
    ("Canon AiCE", True, facts("3D T1 MPRAGE AiCE", manufacturer="CANON_MEC", sequence_variant=("MP", "SP"), tr_ms=6.2, te_ms=2.6, ti_ms=900, flip_deg=9)),
    ("Canon FSBB", False, facts("FSBB", tr_ms=29, te_ms=20, flip_deg=15)),
    ("Canon TOF", False, facts("TOF 3D", sequence_variant=("SS", "MTC"), tr_ms=20, te_ms=3.4, flip_deg=18)),
    ("Canon Locator", False, facts("Locator", acquisition_type="2D", tr_ms=8, te_ms=3, flip_deg=20)),
    ("Hitachi RSSG 1.5", True, facts("3D-RSSG T1", manufacturer="Hitachi", field_strength_t=1.5, sequence_variant=("SP",), tr_ms=11.4, te_ms=4.4, flip_deg=20)),
    ("Fujifilm Echelon 3D GEIR", True, facts("3D GEIR", manufacturer="FUJIFILM", field_strength_t=1.5, scanning_sequence=IR, tr_ms=9.2, te_ms=4.0, ti_ms=1000, flip_deg=8)),
    ("Hitachi BSI", False, facts("BSI", tr_ms=50, te_ms=40, flip_deg=15)),
    ("UIH GRE FSP MPRAGE", True, facts("t1_gre_fsp3d_sag", manufacturer="UIH", sequence_variant=("SP", "MP"), tr_ms=7.5, te_ms=3.1, ti_ms=810, flip_deg=10)),
    ("UIH uCS AI", True, facts("t1_gre_fsp_3d_sag_ACS", manufacturer="UIH", sequence_variant=("SP",), scanning_sequence=IR, tr_ms=7.5, te_ms=3.1, ti_ms=810, flip_deg=10)),
    ("UIH T1 MATRIX", True, facts("t1_mx3d_sag", manufacturer="UIH", scanning_sequence=SE, tr_ms=750, te_ms=13, flip_deg=90)),
    ("UIH scout", False, facts("localizer_3pl", acquisition_type="2D", tr_ms=5, te_ms=2, flip_deg=15)),
    ("Neusoft T1 GRE3D", True, facts("T1 GRE3D", manufacturer="Neusoft", field_strength_t=1.5, sequence_variant=("SP",), tr_ms=15, te_ms=4.6, flip_deg=25)),
    ("Hyperfine T1 standard AXI", True, facts("T1 (Std) AXI", manufacturer="Hyperfine", field_strength_t=0.064, scanning_sequence=("SE", "IR"), tr_ms=1500, te_ms=5.7, ti_ms=300, flip_deg=90)),
    ("Hyperfine T1 fast (unit in s)", True, facts("T1 (Fast)", manufacturer="Hyperfine", field_strength_t=0.064, scanning_sequence=("SE", "IR"), tr_ms=880, te_ms=4.8, ti_ms=354, flip_deg=90)),
    ("Hyperfine FLAIR", False, facts("FLAIR AXI", manufacturer="Hyperfine", field_strength_t=0.064, scanning_sequence=("SE", "IR"), tr_ms=4000, te_ms=170, ti_ms=1400, flip_deg=90)),
    ("Hyperfine T2", False, facts("T2 AXI", manufacturer="Hyperfine", field_strength_t=0.064, scanning_sequence=SE, tr_ms=2000, te_ms=200, flip_deg=90)),
    ("Bruker MDEFT animal", True, facts("MDEFT", manufacturer="Bruker", field_strength_t=9.4, scanning_sequence=IR, tr_ms=4000, te_ms=3, ti_ms=1100, flip_deg=15)),
    ("Esaote 0.25 3D SHARC", False, facts("3D SHARC", manufacturer="Esaote", field_strength_t=0.25, sequence_variant=("SS",), tr_ms=24, te_ms=12, flip_deg=50)),
    ("SyMRI T1W 2D", True, facts("SyT1W", image_type=("DERIVED", "SECONDARY"), scanning_sequence=SE, acquisition_type="2D", tr_ms=650, te_ms=10, flip_deg=90)),
    ("SyMRI FLAIR", False, facts("SyFLAIR", image_type=("DERIVED", "SECONDARY"), scanning_sequence=("SE", "IR"), acquisition_type="2D", tr_ms=15000, te_ms=100, ti_ms=3000, flip_deg=90)),
    ("SyMRI PD", False, facts("SyPD", image_type=("DERIVED", "SECONDARY"), scanning_sequence=SE, acquisition_type="2D", tr_ms=8000, te_ms=10, flip_deg=90)),
    ("EDGE/FGATIR", False, facts("FGATIR", scanning_sequence=IR, tr_ms=3000, te_ms=4.39, ti_ms=409, flip_deg=8)),
    ("T1 FLAIR 2D", True, facts("Ax T1 FLAIR", acquisition_type="2D", scanning_sequence=("SE", "IR"), tr_ms=2500, te_ms=10, ti_ms=860, flip_deg=90)),
    ("WM-nulled MPRAGE", False, facts("WMn MPRAGE", scanning_sequence=IR, tr_ms=4000, te_ms=3, ti_ms=500, flip_deg=7)),
    ("NM melanin 3D MTC", False, facts("NM_MRI", sequence_variant=("SP", "MTC"), tr_ms=48, te_ms=2.6, flip_deg=20)),
    ("ASL 3D M0", False, facts("3D ASL", scanning_sequence=SE, tr_ms=4800, te_ms=10, flip_deg=111)),
    ("DWI", False, facts("ep2d_diff", scanning_sequence=("EP",), acquisition_type="2D", tr_ms=5000, te_ms=80, flip_deg=90)),
    ("DESS", False, facts("t2_de3d", sequence_name="de3d1", tr_ms=14, te_ms=5, flip_deg=25)),
    ("CISS", False, facts("t2_ci3d", sequence_name="ci3d3", sequence_variant=("SK", "SS"), tr_ms=5.6, te_ms=2.6, flip_deg=50)),
    ("Philips mDIXON TFE water", True, facts("T1_3D_TFE_mDIXON", sequence_variant=("MP",), image_type=("DERIVED", "PRIMARY", "W", "W", "DERIVED"), tr_ms=5.6, te_ms=0, flip_deg=10)),
    ("Philips mDIXON FFE water, first echo", True, facts("3D mDIXON", image_type=("ORIGINAL", "PRIMARY", "W", "W", "FFE"), tr_ms=5.2, te_ms=1.4, flip_deg=10)),
    ("Philips mDIXON TFE in-phase", True, facts("T1_3D_TFE_mDIXON", sequence_variant=("MP",), image_type=("DERIVED", "PRIMARY", "IP", "IP", "DERIVED"), tr_ms=5.6, te_ms=2.3, flip_deg=10)),
    ("Philips mDIXON TFE out-of-phase", False, facts("T1_3D_TFE_mDIXON", sequence_variant=("MP",), image_type=("DERIVED", "PRIMARY", "OP", "OP", "DERIVED"), tr_ms=6.6, te_ms=2.2, flip_deg=10)),
    ("Philips mDIXON TFE fat", False, facts("T1_3D_TFE_mDIXON", sequence_variant=("MP",), image_type=("DERIVED", "PRIMARY", "F", "F", "DERIVED"), tr_ms=6.6, te_ms=2.2, flip_deg=10)),
    ("Philips mDIXON Quant fat fraction", False, facts("mDIXON_Quant", image_type=("DERIVED", "PRIMARY", "FF", "FF", "DERIVED"), tr_ms=6.6, te_ms=2.2, flip_deg=12)),
    ("Siemens VIBE Dixon in-phase", True, facts("t1_vibe_dixon_tra_in", sequence_name="fl3d2", sequence_variant=("SP",), image_type=("ORIGINAL", "PRIMARY", "DIXON", "IN_PHASE"), tr_ms=5.6, te_ms=2.46, flip_deg=12)),
    ("Siemens VIBE Dixon opposed, told by words", False, facts("t1_vibe_dixon_tra_opp", sequence_name="fl3d2", sequence_variant=("SP",), tr_ms=6.6, te_ms=2.3, flip_deg=12)),
    ("GE LAVA-Flex water", True, facts("WATER: Ax LAVA-Flex T1", sequence_variant=("SS", "SP", "SK"), image_type=("ORIGINAL", "PRIMARY", "OTHER"), tr_ms=6.1, te_ms=2.1, flip_deg=12)),
    ("GE LAVA-Flex fat", False, facts("FAT: Ax LAVA-Flex T1", sequence_variant=("SS", "SP", "SK"), image_type=("ORIGINAL", "PRIMARY", "OTHER"), tr_ms=6.1, te_ms=2.1, flip_deg=12)),
    ("GE LAVA-Flex out-of-phase", False, facts("OutPhase: Ax LAVA-Flex T1", sequence_variant=("SS", "SP", "SK"), image_type=("ORIGINAL", "PRIMARY", "OTHER"), tr_ms=6.1, te_ms=2.1, flip_deg=12)),
    ("Siemens MT-on MPRAGE-like, MTC with inversion", True, facts("t1_mprage_mt", scanning_sequence=IR, sequence_variant=("SK", "SP", "MP", "MTC"), tr_ms=2300, te_ms=2.9, ti_ms=900, flip_deg=9)),
    ("Siemens UTE MRAC", False, facts("MRAC_UTE", sequence_variant=("SP",), tr_ms=11.9, te_ms=0.07, flip_deg=10)),
    ("Siemens MR-PET MRAC Dixon, in-phase", False, facts("MRAC_Dixon", sequence_variant=("SP",), image_type=("ORIGINAL", "PRIMARY", "DIXON", "IN_PHASE"), tr_ms=3.85, te_ms=2.46, flip_deg=10)),
    ("Siemens ASL 3D GRASE", False, facts("asl_3d_tra", sequence_name="tgse3d1", scanning_sequence=("SE", "EP"), tr_ms=4600, te_ms=15, flip_deg=180)),
    ("Siemens ME-fl3d for R1 maps, PD-weighted", False, facts("PDw_kp_mtflash3d", sequence_name="fl3d8m", sequence_variant=("SP",), tr_ms=23.7, te_ms=2.2, flip_deg=6)),
    ("Siemens MPM T1w", True, facts("t1w_kp_mtflash3d", sequence_name="fl3d8m", sequence_variant=("SP",), tr_ms=18.7, te_ms=2.2, flip_deg=20)),
    ("GE MAGiC synthetic T1 map", False, facts("MAGiC T1 map", image_type=("DERIVED", "PRIMARY", "T1 MAP"), scanning_sequence=SE, acquisition_type="2D", tr_ms=4000, te_ms=20, flip_deg=90)),
    ("Philips B1 calibration", False, facts("B1_calibration_brain", tr_ms=30, te_ms=2.3, flip_deg=60)),
    ("Canon 3D reference for SPEEDER", False, facts("SPEEDER Map", manufacturer="CANON_MEC", tr_ms=4.2, te_ms=1.5, flip_deg=5)),
    ("UIH autoalign scout", False, facts("brain_autoalign_scout", manufacturer="UIH", tr_ms=3.3, te_ms=1.4, flip_deg=8)),
)
# fmt: on


def protocol_rows() -> list[Row]:
    """Return a row for each."""
    rows = []
    for name, wanted, stated in PROTOCOLS:
        finding = sequence_identity(stated) or judge_contrast(stated)
        passes = image_fault(stated) is None and finding.weighting is not Weighting.OTHER
        rows.append(Row(f"protocols:{name}", f"T1w {wanted}", f"T1w {passes}: {finding.reason}", passes is wanted))
    return rows
