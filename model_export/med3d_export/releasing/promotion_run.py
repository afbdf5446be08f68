"""``med3d-export promote``: ask both bundles about the same heads, write the comparison, then replace."""

from pathlib import Path

from med3d_export.releasing.promotion import KnownScanner, Promotion, compare_judgements, judge
from med3d_export.report.promotion_report import write_promotion
from med3d_export.result_files import write_json
from med3d_export.subjects.manifest_files import read_cohort
from med3d_export.subjects.tensor_cache import TensorCache
from med3d_pipeline.bundle.bundle import Bundle

BOOTSTRAP_SEED = 2510


def compare_bundles(candidate: Path, in_place: Path, data: Path, cache: Path, jobs: int, report: Path) -> Promotion:
    """Judge the cohort at ``data`` by both bundles and write promotion.json and the page into ``report``.

    Each bundle sees tensors of its own preprocessing. The scanner is taken to be the one that the candidate was
    calibrated on, so that decisions differ by what the models see. Raises BundleError where a bundle is altered,
    CohortError where a head is refused by the quality gate.
    """
    cohort = read_cohort(data, least_subjects=10)
    bundles = Bundle.open(candidate), Bundle.open(in_place)
    trained = bundles[0].manifest.training_data
    scanner = KnownScanner(trained.field_strengths_t[0], trained.vendors[0])
    judged = []
    for bundle in bundles:
        prepared = TensorCache(cache / "tensors", bundle.path, jobs).prepare(cohort)
        judged.append(judge(bundle, prepared.tensors, cohort.ages_years, scanner))
    names = [f"{bundle.name} {bundle.version} ({bundle.digest[:12]})" for bundle in bundles]
    heads = cohort.participant_ids.tolist()
    promotion = compare_judgements((names[0], names[1]), heads, cohort.ages_years, judged[0], judged[1], BOOTSTRAP_SEED)
    report.mkdir(parents=True, exist_ok=True)
    write_json(promotion, report / "promotion.json")
    write_promotion(promotion, judged[0], judged[1], report)
    return promotion
