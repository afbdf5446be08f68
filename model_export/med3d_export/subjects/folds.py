"""Splits by subject: stratified by age, sex and site and fixed by seed, or one site left out at a time."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold

from med3d_export.subjects.cohort import Cohort, CohortError, CohortSubject

Indices = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]
SplitKind = Literal["stratified", "leave-one-site-out"]
MOST_AGE_BANDS = 6


@dataclass(frozen=True, eq=False)
class Fold:
    """Row indices of one outer fold; no subject is in both."""

    training: Indices
    test: Indices
    name: str = ""


@dataclass(frozen=True, eq=False)
class Split:
    """The outer folds of one experiment, and how they came about; ``seed`` is None where no chance was in it."""

    kind: SplitKind
    seed: int | None
    strata: tuple[str, ...]
    folds: tuple[Fold, ...]

    @property
    def description(self) -> str:
        """What the folds are, in words: a small cohort cannot be spread by everything that is known of it."""
        if self.kind == "leave-one-site-out":
            return f"{len(self.folds)} outer folds, one site left out at a time"
        *others, last = [stratum.partition(" in ")[0] for stratum in self.strata]
        return f"{len(self.folds)} outer folds, stratified by {', '.join(others)}{' and ' if others else ''}{last}"


def stratified_folds(cohort: Cohort, folds: int, seed: int) -> Split:
    """Return folds in which age, sex and site are spread evenly; all scans of a subject fall into one fold.

    Raises CohortError where there are too few subjects.
    """
    _, first, subject_of_row = np.unique(cohort.participant_ids, return_index=True, return_inverse=True)
    # In the manifest's order, not the alphabet's: the same order that the rows have where each subject has one.
    order = np.argsort(first)
    one_row_each = first[order]
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    labels, strata = _strata(
        cohort.ages_years[one_row_each], cohort.sexes[one_row_each], cohort.sites[one_row_each], folds
    )
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    fold_of_subject = np.empty(len(order), dtype=np.int64)
    for number, (_, test) in enumerate(splitter.split(labels, labels)):
        fold_of_subject[test] = number
    fold_of_row = fold_of_subject[place[subject_of_row]]
    made = tuple(_fold(fold_of_row == number, f"fold {number + 1}") for number in range(folds))
    return Split("stratified", seed, strata, made)


def thinned(fold: Fold, cohort: Cohort, heads: int, seed: int) -> Fold:
    """Return the same test heads, and ``heads`` of the training heads, spread over ages, sexes and sites as all are.

    With one seed the heads of a smaller number are among those of a larger one. Raises CohortError where there are too
    few.
    """
    own = fold.training
    if not 2 * MOST_AGE_BANDS <= heads <= len(own):
        raise CohortError(
            [f"{heads} training heads: a fold has {len(own)}; ask for {2 * MOST_AGE_BANDS} to {len(own)}"]
        )
    labels, _ = _strata(cohort.ages_years[own], cohort.sexes[own], cohort.sites[own], 2)
    order = np.random.default_rng(seed).permutation(len(own))
    place = np.empty(len(own))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return Fold(np.sort(own[np.argsort(place, kind="stable")[:heads]]), fold.test, fold.name)


def leave_one_site_out(cohort: Cohort) -> Split:
    """Return one fold per site, tested on that site alone.

    Raises CohortError where there is one site only, and names the subjects that were scanned at several.
    """
    sites = np.unique(cohort.sites)
    if len(sites) < 2:
        raise CohortError([f"leave-one-site-out needs at least two sites; everyone is from {sites[0]!r}"])
    where: dict[str, CohortSubject] = {}
    problems = []
    for subject in cohort.subjects:
        before = where.setdefault(subject.participant_id, subject)
        if before.site != subject.site:
            problems.append(
                f"row {subject.row}: {subject.participant_id} was scanned at {subject.site} and, in row {before.row}, "
                f"at {before.site}, so no site can be left out without it"
            )
    if problems:
        raise CohortError(problems)
    return Split("leave-one-site-out", None, ("site",), tuple(_fold(cohort.sites == site, str(site)) for site in sites))


def _fold(tested: npt.NDArray[np.bool_], name: str) -> Fold:
    return Fold(np.flatnonzero(~tested), np.flatnonzero(tested), name)


def _strata(ages: npt.NDArray[np.float64], sexes: Texts, sites: Texts, folds: int) -> tuple[Texts, tuple[str, ...]]:
    """Return a stratum (N,) per subject and what it is made of: as fine as leaves every stratum enough for each fold.

    The site is given up last but for the age; sites with too few people for the folds count as one.
    """
    pooled = _pooled_sites(sites, folds)
    for kept in ((sexes, pooled), (sexes,)):
        for bands in range(MOST_AGE_BANDS, 0, -1):
            edges = np.quantile(ages, np.linspace(0, 1, bands + 1)[1:-1])
            band = np.digitize(ages, edges).astype(str)
            for parts, names in ((kept, ("sex", "site")[: len(kept)]), (kept[1:], ("site",)[: len(kept) - 1])):
                labels = np.array(["/".join(values) for values in zip(band, *parts, strict=True)])
                if min(Counter(labels.tolist()).values()) >= folds:
                    return labels, (f"age in {bands} bands", *names)
    raise CohortError([f"{len(ages)} subjects are too few for {folds} folds"])


def _pooled_sites(sites: Texts, folds: int) -> Texts:
    counts = Counter(sites.tolist())
    return np.array([site if counts[site] >= folds else "" for site in sites.tolist()])
