"""Words that may stay: texts of a sender are taken apart, and only words of the trade on these lists go on.

A closed list is the only safe filter for free text: a name is not recognised, it is simply no word of MR.
"""

import re
import unicodedata

from med3d_service.studies.working_copy.agent_phrases import speaks_of_agent

_WORD = re.compile(r"[A-Za-z0-9*.]+")
_DESCRIPTION_WORD = re.compile(r"\+C\b|\bC\+|\bw/o\b|[A-Za-z0-9]+\*?|\*", re.IGNORECASE)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CODES = _words(
    """
    original derived primary secondary other none mixed unknown yes no y n ct mr pt nm us xa cr dx seg
    m p r i se ffe ir gr ep rm fl m_ffe p_ffe r_ffe i_ffe m_se p_se r_se i_se m_ir p_ir r_ir i_ir w f ip op
    w_ffe f_ffe ff inphase outphase opposed_phase water_fraction
    magnitude phase real imaginary norm nd dis2d dis3d mfsplit uni uni-den inv1 inv2 t1 t2 pd t1w t2w
    axial sagittal coronal localizer scout overview survey composed comp sum mean avg moco
    mpr cpr mip minip mnip reformatted resampled subtraction sub filtered compressed screenshot
    adc fa trace tracew tensor diffusion perfusion asl cbf cbv mtt ttp relcbf mosaic fmri swi dixon water fat
    in_phase out_phase opp_phase b0 b1 field_map fieldmap velocity t1_map t2_map t2_star_map r2_map r2*_map
    m_b0 m_b1 b0_map b1_map fat_fraction flip angle
    angio tof stack volume sampled distorted flow_encoded fluid_attenuated proton_density stir t2_star tagging
    temperature spectroscopy maximum_ip minimum_ip max_ip min_ip median_ip volume_render surface_render
    reformat thick thin slab projection collapse render rendered rendering vrt subtract subtracted division ratio
    multiplication addition masked fusion fused deviation
    quantity std_deviation maximum minimum segmentation labelmap flow_comp
    gradient spin both 1d 2d 3d sk mtc ss trss sp mp osp per rg cg ppg fc pff pfp fs
    fc_freq_ax fc_slice_ax fcfreq_ax fcslice_ax fc_freq_ax_gems fc_slice_ax_gems fcfreq_ax_gems fcslice_ax_gems
    acc_gems edr_gems fast_gems vasctof_gems filtered_gems nphase_gems sat_gems fsa_gems pfse_gems multi_gems
    monochrome monochrome1 monochrome2 rgb ybr_full ybr_full_422 ybr_rct ybr_ict ybr_partial_420 color
    hu normalized brain head skull neck headneck cspine whole_body hfs hfp ffs ffp hfdr hfdl ffdr ffdl
    row col square_root_hamming csa ct_som5 seq mon ps pcr gdc pfm map projection image screen save
    isotropic directional bmatrix 3d_temporal tilted tilted_volume
    """
)
MANUFACTURERS = _words(
    """
    siemens healthineers healthcare ge medical systems system philips toshiba canon toshiba_mec hitachi ltd
    fujifilm corporation corp hyperfine research inc uih united imaging bruker biospin esaote paramed neusoft
    anke alltech mindray samsung medison gmbh co nv best
    """
)
MODELS = _words(
    """
    magnetom trio triotim tim tim+dot verio skyra skyra_fit skyrafit prisma prisma_fit prismafit fit vida lumina aera
    avanto avanto_fit avantofit espree symphony symphonytim sonata sonatavision allegra biograph biograph_mmr mmr terra
    sola altea amira sempra spectra essenza free.max free.star harmony vision connectom cima.x concerto
    signa discovery optima mr450 mr450w mr750 mr750w mr360 mr355 brivo hdx hdxt hde excite genesis_signa genesis
    architect artist premier pioneer voyager explorer hero uhp pet/mr 7.0t
    achieva ingenia intera ambition elition gyroscan multiva panorama prodiva evolution ds dstream quasar dual
    x s cx cambridge mr 5300 7700
    vantage titan galan orian elan atlas excelart ultra
    echelon oasis airis aperto vega smart oval
    swoop umr omega 570 560 580 588 670 680 770 780 790 870 890 jupiter
    0.064t 0.2t 0.3t 0.35t 0.4t 0.5t 0.55t 1t 1.0t 1.5t 2t 2.89t 3t 3.0t 7t 1.5 3.0
    """
)
DESCRIPTIONS = _words(
    """
    t1 t1w t1wi t1c t1ce t1gd t1km mprage memprage bravo spgr fspgr mp2rage vibe lava thrive t1tfe tfe tfl ffe flash
    mpr3d
    * t2 t2w haste ciss fiesta flair tirm dark pd pdw proton density space cube vista brainview
    dwi dti adc trace diff diffusion fa bold fmri asl perf perfusion rest
    swi swip swan hemo t2star t2* qsm susc susceptibility venobold fsbb bsi
    tof mra cmra cemra emra mrv angio veno venogram venography inhance tricks twist mip pc pca
    loc localizer localiser scout survey aascout scanogram scano locator plan scan planscan smart brain smartbrain
    cal calib calibration coil sens coilsens sensitivity ref refscan sense senseref prescan shim shimming
    fieldmap fmap field map mapping b0 b1 b0map b1map afi gre se tse fse ir
    gd gad gado gadolinium dotarem magnevist omniscan prohance multihance clariscan gadovist gadavist
    post pre postcontrast ce km contrast kontrast kontrastmittel native +c c+ c w/o wo without no non
    ohne sans before vor
    mpr reformat reformatted multiplanar projection minip pjn vrt subtraction subtracted
    segmentation aseg parcellation label labelmap recon cor sag tra ax axial coronal sagittal transverse
    3d 2d iso isotropic 1mm head brain skull wb whole fs fatsat fat sat water wm gm acc accelerated acq anat
    grappa arc ti tr te ns p2 p3 r2 uni inv1 inv2 den norm nd repeat rpt run1 run2 run 1 2 3 4
    st1 st1w st2 st2w sflair sdwi
    localis localiz lokalis lokaliz topogram pilot study plane planes plans 3pl 3plane 3planes triplane three tri pl
    autoalign auto align reperage ubersicht uebersicht overview planning planung planungsscan
    rt op stealth brainlab surgical surgery therapy radiotherapy treatment speeder speedermap senserefscan
    gdt1 gdt1w postgd postgad postgado postkm pregado nongado kmgabe mdc contraste contrasto kontrastmittelgabe
    inj injection injecte injiziert iniezione vueway elucirem optimark primovist
    o kein keine sin sem senza zonder avant prima antes de di
    operat operation operative operativ surg treat treated treatments chemo chemotherapy radio radiation xrt srs therap
    tx resection biopsy trauma process processing processed stroke implant implantation dbs partum ictal
    3di s3di stof 3dtof 2dtof tof3d tof2d inflow motsa cow willis art arterial ven venous
    st1wi st1tfe st1c st1ce st1gd st1km stof2d stof3d 2dtof2d 2dtof3d 2dstof 2dstof2d 2dstof3d 3dtof2d 3dtof3d 3dstof
    mips minips projections subtraktion soustraction sottrazione sustraccion sub segmented segment classification
    aparc mask masks face labelmaps fused fusion maps myelin probability z score scores zscore zscores density
    thickness tissue asymmetry parametric quantitative qt1 qt2 ratio symri r1
    3dstof2d 3dstof3d 3plan 3plans threepl threeplan threeplane threeplanes threeplans tripl triplan triplanes
    triplans
    dixon mdixon flex ideal f opp opposed out of phase outphase
    """
)
DERIVATIONS = _words(
    """
    multiplanar multi planar curved mpr mip minip maximum minimum intensity projection
    volume surface vrt difference segmentation segmented label
    map maps labelmap parcellation parametric quantitative relaxation perfusion diffusion velocity adc fa cbf cbv t1 t2
    * t2* r1 r2 r2* gradwarp grad warp n3 n4 scaled lossy lossless compression compressed
    mips minips projections subtraktion soustraction sottrazione sustraccion segmentations parcellations aparc aseg
    md mtt ttp tmax z score scores zscore zscores myelin probability density thickness tissue asymmetry
    susceptibility qsm pd ratio qt1 qt2 fused fusion labelmaps
    jpeg distortion correction corrected gradient bias field filter filtered normalized resampled average
    """
)
DERIVATION_CODES = frozenset(str(code) for code in range(113040, 113098))
"""What CID 7203 of PS3.16 lists, and its neighbours: codes of the standard, none of a site."""
_STEMS = re.compile(
    r"scout|survey|locali[sz]er|lo[ck]ali[sz]|scanogram|topogram|refscan|autoalign|ue?bersicht|locator"
    r"|planscan|smartbrain|angio|calib|fieldmap|mprage|(?:pre|non|post)?gado|operat|surg|chemo|therap"
)
_OPTION_STEMS = {"FC": re.compile("FC"), "FLOW_COMP": re.compile("FLOW"), "TOF": re.compile(".*TOF")}
"""Vendors end these as they like; the stem says what gradients or inflow do to the contrast."""
_DERIVATION_STEMS = re.compile(r"(?:reformat|subtra[ck]t|defac|render)(?=\w*$)", re.ASCII)
_MAP = re.compile(
    r"(?:parametric|quantitative|relaxation|perfusion|diffusion|velocity|adc|fa|md|cbf|cbv|mtt|ttp|tmax|z?scores?|myelin"
    r"|probability|density|thickness|tissue|asymmetry|susceptibility|qsm|pd|[rt][12])\*?maps?",
    re.ASCII,
)
_AGENT, _LAST = "contrast", _words("sub f fat phase")
"""The word for any agent; and what means a subtraction or a part of a Dixon acquisition where it comes last, as in
``t1_vibe_sub``, else a person or what was saturated."""
_FIRST = re.compile(r"(fat|out ?phase):", re.IGNORECASE)
"""GE begins with the part: ``FAT: LAVA-Flex``. It is written last."""
_PHRASES = re.compile(r"plan scan|smart brain|field map|auto align")
"""Of two words, and the second, too, may be part of a longer one."""
AGENTS = _words(
    "gd gad gado gadolinium gadovist gadavist dotarem magnevist omniscan prohance multihance gadobutrol clariscan"
)
NO_AGENT = _words(
    """
    no non none nil not n na without w/o wo o ohne kein keine keiner keines sans sin senza sem zonder aucun aucune pas
    nessuno ninguno unknown unspecified undefined unbekannt inconnu desconocido sconosciuto off false null nein nee
    saline nacl negative neg nativ native plain geen ingen inget utan uden uten bez brak zadna nie nothing refused
    declined nicht нет без 无 無 なし
    """
)
"""Words that deny a contrast agent, or say that none is known."""
_BESIDE_NO_AGENT = _words(
    """
    contrast agent agents media medium dye contraste contrasto kontrast kontrastmittel km mdc ce a d given administered
    applied used injected injection injecte gegeben bolus iv i v ml cc mmol kg l de di of the was is any
    gd gad gado gadolinium kontrastu kontrastmiddel verabreicht applicable specified
    """
)
_AGENT_WORD = re.compile(r"w/o\b|[^\W\d_]+|\d+(?:[.,]\d+)?")

_FAMILIES = (
    "tfl|fl|spcir|spcr|spc|tseir|tse|tir|se|epse|epfid|epir|ep_b|ep|tfi|ci|fi|fm|swi|h|de|pc|re|gre|mpr|qfl|tgse"
)
_SEQUENCE = re.compile(rf"\*?(?:fl3d\d{{1,2}}r|(?:{_FAMILIES})\d?d?(?=[\d_]|$))", re.IGNORECASE)
_SEQUENCE_WORDS = frozenset({"tof", "swi", "swan", "scout", "b1", "b1map"})


def known_words(text: str, vocabulary: frozenset[str]) -> str:
    """Keep the words of ``text`` that are in ``vocabulary``, joined by blanks."""
    return " ".join(word for word in _WORD.findall(text.replace("_", " ")) if word.casefold() in vocabulary)


def _unaccented(text: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))


def known_derivation(text: str) -> str:
    """Keep the words that DERIVATIONS lists, maps in one word (``ADCmap``), and stems such as of ``reformation``."""
    kept = []
    for word in _DESCRIPTION_WORD.findall(text.replace("_", " ")):
        plain = word.casefold()
        stem = _DERIVATION_STEMS.match(plain)
        if {plain, plain.strip("*")} & DERIVATIONS or _MAP.fullmatch(plain):
            kept.append(word)
        elif stem is not None:
            kept.append(stem.group())
    return " ".join(kept)


def option_stem(text: str) -> str:
    """Return what an unlisted ScanOptions value begins with or holds, of what has a meaning; else nothing."""
    return next((stem for stem, pattern in _OPTION_STEMS.items() if pattern.match(text.upper())), "")


def known_description(text: str) -> str:
    """Keep the words that DESCRIPTIONS lists; of a compound such as ``AAHeadScout`` the listed stem.

    In place of all that tells of a contrast agent stands one word, and first, where no other word can deny it.
    """
    kept = [_AGENT] if speaks_of_agent(text) else []
    words = _DESCRIPTION_WORD.findall(_unaccented(text).replace("_", " "))
    for place, word in enumerate(words, start=1):
        stem = _STEMS.search(word.casefold())
        if speaks_of_agent(word) or (word.casefold() in _LAST and place < len(words)):
            kept += ["T1"] if "t1" in word.casefold() else []
        elif word.casefold() in DESCRIPTIONS or _MAP.fullmatch(word.casefold()):
            kept.append(word)
        elif stem is not None:
            kept.append(stem.group())
    kept += _PHRASES.findall(re.sub("[_-]", " ", text.casefold()))
    first = _FIRST.match(text)
    kept += [first[1]] if first else []
    return " ".join(kept)


def known_sequence(name: str) -> str:
    """Keep the family and dimension that a vendor's sequence name starts with: ``*tfl3d1_16ns`` becomes ``*tfl3d``.

    Siemens' sign for rephased flow stays (``fl3d1r``), and of names in words (``gre_tof_x``) those that name a family.
    """
    found = _SEQUENCE.match(name.strip())
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word.casefold() in _SEQUENCE_WORDS]
    return "_".join([found.group() if found else "", *words]).strip("_")


def known_agent(text: str) -> str:
    """Tell whether a contrast agent is stated, and no more."""
    if denies_agent(text):
        return ""
    return "GADOLINIUM" if known_words(text, AGENTS) else "AGENT"


def denies_agent(text: str) -> bool:
    """Tell whether ContrastBolusAgent says in words that there was none or that none is known, or states a dose of 0.

    The pipeline reads the originals' by the same words (med3d_pipeline.reading.agent_words).
    """
    found = _AGENT_WORD.findall(_unaccented(text).casefold())
    doses = [float(each.replace(",", ".")) for each in found if each[0].isdigit()]
    words = {each for each in found if each[0].isalpha()}
    if doses:
        return not any(doses)
    return words <= NO_AGENT | _BESIDE_NO_AGENT and (not words or bool(words & NO_AGENT))
