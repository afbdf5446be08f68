"""The morning report over a small cohort whose truth is known."""

import csv
import io
import re
import tracemalloc
from datetime import UTC, datetime
from itertools import chain, repeat
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select, update

from med3d_service.cohorts import reprocessing
from med3d_service.cohorts.charts.svg import Chart, nice_ticks
from med3d_service.cohorts.diff import cohort_diff, cohort_members
from med3d_service.cohorts.export import as_csv, as_parquet, columns_of, table_rows
from med3d_service.cohorts.figures import draw_figures
from med3d_service.cohorts.kept_pages.diff_page import diff_page
from med3d_service.cohorts.kept_pages.summary_page import summary_page
from med3d_service.cohorts.progress import cohort_progress
from med3d_service.cohorts.scatter import cohort_scatter
from med3d_service.cohorts.summary import summarise
from med3d_service.cohorts.tables import FiguresRow, ScanFactsRow
from med3d_service.settings import Settings
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import load_keys
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow
from rig.service.cohorts import NEXT_BUNDLE, new_cohort, predict, prepare, runs_of
from rig.service.parts import open_database
from rig.service.work import BUNDLE

MEMBERS = 12


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    return IdentifierVault(load_keys(Settings(data_dir=tmp_path_factory.mktemp("keys"))))


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    opened = open_database(tmp_path_factory.mktemp("database"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def cohort(database, vault):
    """Ages 40 to 51. By the first bundle everyone looks 2 years older; by the next 3 more, but for four people."""
    made = new_cohort(database, MEMBERS, name="known")
    with database.write() as session:
        for number, study in enumerate(session.scalars(select(StudyRow).order_by(StudyRow.seq))):
            study.stated_age, study.stated_sex = 40.0 + number, "F"
            session.add(ScanFactsRow(study_id=study.id, scan_site="HH", visit="v1", sdmt=50.0 if number < 6 else None))
            vault.keep(session, study.id, "subject", f"=S-{number}")
    for bundle, answer in ((BUNDLE, first_answer), (NEXT_BUNDLE, second_answer)):
        with database.write() as session:
            row = reprocessing.begin(session, made, session.get_one(BundleRow, bundle.digest), in_window=False)
            reprocessing.feed(session, row, 100)
        for run in runs_of(database, bundle):
            if run.status == "queued":
                prepare(database, run.id)
        numbers = {run.id: number for number, run in enumerate(runs_of(database, bundle))}
        predict(database, lambda run, answer=answer, numbers=numbers: answer(numbers[run.id]))
        with database.write() as session:
            reprocessing.feed(session, reprocessing.under_way(session, made.id), 100)
    return made


def first_answer(number):
    return {3: "too_noisy"}.get(number, 42.0 + number)


def second_answer(number):
    return {0: "out_of_distribution", 1: "broken", 5: 42.0 + 5 + 20}.get(number, 45.0 + number)


def bundles(database):
    with database.read() as session:
        return tuple(session.get_one(BundleRow, bundle.digest) for bundle in (BUNDLE, NEXT_BUNDLE))


@pytest.fixture(scope="module")
def found(database, cohort):
    return cohort_diff(database, cohort, *bundles(database))


def test_shift_and_accuracy_are_of_those_who_have_a_number_by_both(found):
    diff, points = found
    assert (diff.members, diff.both, diff.only_first_ran) == (12, 9, 0)
    assert diff.brain_age_shift.median == 3
    assert diff.brain_age_accuracy.people == 9
    assert diff.brain_age_accuracy.mae == (2, pytest.approx((8 * 5 + 22) / 9))
    assert diff.sdmt_shift is diff.sdmt_accuracy is None
    assert len(points.pairs) == len(points.by_age) == 9


def test_who_changed_is_named_with_what_was_and_what_is(found):
    diff, _ = found
    assert [(c.before, c.after) for c in diff.newly_refused.members] == [("42.0 years", "out_of_distribution")]
    assert [(c.before, c.after) for c in diff.newly_failed.members] == [("43.0 years", "broken")]
    assert [(c.before, c.after) for c in diff.newly_accepted.members] == [("too_noisy", "48.0 years")]
    assert [(c.before, c.after) for c in diff.gap_crossings.members] == [("+2.0 years", "+22.0 years")]
    assert diff.decision_changes.count == 0


def test_accuracy_against_measured_sdmt_where_it_was_taken(database, cohort):
    cohort_diff(database, cohort, *bundles(database))  # draws the figures
    with database.write() as session:
        session.execute(
            update(FiguresRow).where(FiguresRow.brain_age.is_not(None)).values(sdmt=48.0, sdmt_evidence="x")
        )
    diff, _ = cohort_diff(database, cohort, *bundles(database))
    assert (diff.sdmt_accuracy.people, diff.sdmt_accuracy.mae, diff.sdmt_evidence) == (3, (2, 2), ("x",))


def points_of(session):
    """The id of a study that both bundles answered and whose SDMT was measured."""
    answered = select(RunRow.study_id).join(FiguresRow, FiguresRow.run_id == RunRow.id)
    measured = select(ScanFactsRow.study_id).where(ScanFactsRow.sdmt.is_not(None))
    both = answered.where(FiguresRow.brain_age.is_not(None), RunRow.study_id.in_(measured))
    twice = both.group_by(RunRow.study_id).having(func.count() == 2)
    return session.scalars(twice).first()


def test_a_scan_that_a_model_learned_from_is_in_no_accuracy(database, cohort, vault):
    cohort_diff(database, cohort, *bundles(database))  # draws the figures
    with database.write() as session:
        session.execute(update(FiguresRow).where(FiguresRow.brain_age.is_not(None)).values(sdmt=48.0))
    before, _ = cohort_diff(database, cohort, *bundles(database))
    counted = cohort_scatter(database, vault, cohort, bundles(database)[0])
    with database.write() as session:
        runs = select(RunRow.id).where(RunRow.study_id == points_of(session))
        learned = update(FiguresRow).where(FiguresRow.run_id.in_(runs))
        session.execute(learned.values(reason_codes="unusual_measure; training_scan"))
    diff, points = cohort_diff(database, cohort, *bundles(database))
    scatter = cohort_scatter(database, vault, cohort, bundles(database)[0])
    with database.write() as session:
        session.execute(update(FiguresRow).values(reason_codes="", sdmt=None))
    assert (len(scatter.points), scatter.training_scans) == (len(counted.points) - 1, 1)
    assert before.sdmt_accuracy.people - diff.sdmt_accuracy.people == 1
    assert diff.training_scans + diff.brain_age_accuracy.people == before.brain_age_accuracy.people
    assert (len(points.by_age), diff.both) == (before.brain_age_accuracy.people, before.both)
    assert diff.training_scans == 1


def summarised(database, vault, cohort):
    with database.read() as session:
        progress = cohort_progress(session, cohort, BUNDLE.digest, 60.0)
    scatter = cohort_scatter(database, vault, cohort, bundles(database)[0])
    return summarise(progress, scatter), scatter


def test_a_cohort_with_one_model_has_a_summary_and_its_page(database, cohort, vault):
    summary, scatter = summarised(database, vault, cohort)
    assert (summary.members.completed, summary.members.refused, summary.people) == (11, 1, 11)
    assert (summary.mean_absolute_error.mean, summary.mean_gap.mean) == (2, 2)
    assert summary.correlation == pytest.approx(1.0)
    assert [(one.code, one.count) for one in summary.without_number] == [("too_noisy", 1)]
    assert {one.gap for one in summary.farthest} == {2.0}
    page = summary_page(summary, scatter, datetime(2026, 1, 2, tzinfo=UTC))
    for said in ("2.00 (2.00 to 2.00) years", "+2.00 (+2.00 to +2.00) years", "too_noisy", "11 people", "<svg"):
        assert said in page
    assert f"<td>{summary.farthest[0].run_id[:8]}</td>" in page
    assert not re.search(r"(src|href)=.http", page)


def test_a_summary_says_where_nobody_counts_and_why(database, cohort, vault):
    cohort_diff(database, cohort, *bundles(database))  # draws the figures
    with database.write() as session:
        session.execute(update(FiguresRow).values(reason_codes="training_scan"))
    summary, scatter = summarised(database, vault, cohort)
    with database.write() as session:
        session.execute(update(FiguresRow).values(reason_codes=""))
    assert (summary.people, summary.training_scans, summary.mean_absolute_error) == (0, 11, None)
    page = summary_page(summary, scatter, datetime(2026, 1, 2, tzinfo=UTC))
    assert "as the model learned from the scan: 11." in page
    assert "No member counts" in page


def test_figures_of_a_release_that_kept_no_reasons_are_drawn_again(database, cohort):
    cohort_diff(database, cohort, *bundles(database))
    with database.write() as session:
        drawn = session.scalar(select(func.count()).select_from(FiguresRow))
        session.execute(update(FiguresRow).values(reason_codes=None))
    cohort_diff(database, cohort, *bundles(database))
    with database.read() as session:
        known = select(func.count()).where(FiguresRow.reason_codes.is_not(None))
        assert session.scalar(known) == drawn == session.scalar(select(func.count()).select_from(FiguresRow))


def test_the_other_way_round_the_shift_has_the_other_sign(database, cohort, found):
    first, second = bundles(database)
    back, _ = cohort_diff(database, cohort, second, first)
    assert back.brain_age_shift.shift.mean == -found[0].brain_age_shift.shift.mean
    assert (back.newly_accepted.count, back.newly_refused.count) == (2, 1), "refused and failed before"


def test_the_page_holds_it_all_in_itself(found):
    page = diff_page(*found, datetime(2026, 1, 6, 6, tzinfo=UTC))
    for words in (
        "9 pairs",
        "limits of agreement",
        "Newly refused: 1",
        "out_of_distribution",
        "Drift",
        "not a medical device",
    ):
        assert words in page
    pictures = re.findall(r"<svg.*?</svg>", page)
    assert len(pictures) == 4
    for picture in pictures:
        ET.fromstring(picture)
    assert not re.search(r"(src|href)=", page)


def test_ten_thousand_points_are_gathered_in_cells():
    chart = Chart((0, 100), (0, 100), "x", "y")
    chart.points([(number % 100, number / 100) for number in range(10_000)])
    assert len(chart.svg("many")) < 300_000
    assert nice_ticks(0, 1)[:3] == [0, 0.2, 0.4]


def table(database, cohort, vault, layout, write):
    chosen = bundles(database)
    columns = columns_of(layout, chosen)
    with cohort_members(database, cohort, chosen) as (session, members):
        return write(columns, table_rows(session, vault, members, layout, chosen))


def test_long_has_a_row_for_each_answer_and_wide_for_each_member(database, cohort, vault):
    for layout, rows in (("long", 24), ("wide", 12)):
        text = table(database, cohort, vault, layout, lambda c, r: b"".join(as_csv(c, r))).decode()
        read = list(csv.DictReader(io.StringIO(text)))
        assert len(read) == rows
        assert (read[0]["participant_id"], read[0]["visit"], read[0]["site"]) == ("'=S-0", "v1", "HH")
    assert read[3]["code__bundle@1"] == "too_noisy"
    assert float(read[3]["brain_age__bundle@2"]) == 48
    assert float(read[3]["gap__bundle@2"]) == 5


def test_sites_that_a_model_has_not_learned_are_in_the_report_and_in_the_export(database, cohort, vault):
    cohort_diff(database, cohort, *bundles(database))  # draws the figures
    chosen = [run.id for run in runs_of(database, NEXT_BUNDLE)][2:5]
    with database.write() as session:
        session.execute(update(FiguresRow).where(FiguresRow.run_id.in_(chosen)).values(site_correction="unknown_site"))
    diff, points = cohort_diff(database, cohort, *bundles(database))
    assert diff.unknown_sites == (0, 3)
    assert "has not learned the sites of 3" in diff_page(diff, points, datetime(2026, 1, 6, 6, tzinfo=UTC))
    text = table(database, cohort, vault, "wide", lambda c, r: b"".join(as_csv(c, r))).decode()
    read = list(csv.DictReader(io.StringIO(text)))
    assert [row["site_correction__bundle@2"] for row in read].count("unknown_site") == 3
    assert {row["site_correction__bundle@1"] for row in read} == {""}


@pytest.mark.parametrize("layout", ["long", "wide"])
def test_the_export_says_which_scans_a_model_learned_from(database, cohort, vault, layout):
    cohort_diff(database, cohort, *bundles(database))  # draws the figures
    chosen = [run.id for run in runs_of(database, NEXT_BUNDLE)][2:5]
    with database.write() as session:
        marked = update(FiguresRow).where(FiguresRow.run_id.in_(chosen))
        session.execute(marked.values(reason_codes="unusual_measure; training_scan"))
    text = table(database, cohort, vault, layout, lambda c, r: b"".join(as_csv(c, r))).decode()
    with database.write() as session:
        session.execute(update(FiguresRow).values(reason_codes=""))
    read = list(csv.DictReader(io.StringIO(text)))
    ending = "__bundle@2" if layout == "wide" else ""
    told = {row[f"run_id{ending}"] for row in read if "training_scan" in row[f"reason_codes{ending}"].split("; ")}
    assert told == set(chosen)


def test_figures_tell_of_the_site_from_an_answer_and_from_a_refusal(tmp_path):
    database = open_database(tmp_path)
    made = new_cohort(database, 3, name="sites")
    with database.write() as session:
        row = reprocessing.begin(session, made, session.get_one(BundleRow, BUNDLE.digest), in_window=False)
        reprocessing.feed(session, row, 100)
    first, second, _ = (run.id for run in runs_of(database, BUNDLE))
    with database.write() as session:
        completed, refused = session.scalars(select(RunRow).order_by(RunRow.seq).limit(2))
        completed.status, completed.result = (
            "completed",
            {"assessment": {"site_correction": "applied", "calibrated_for": "Ward 3"}},
        )
        refused.status, refused.refusal = "refused", {"code": "x", "details": {"site_correction": "unknown_site"}}
    assert draw_figures(database, select(RunRow)) == 2
    with database.read() as session:
        rows = session.scalars(select(FiguresRow)).all()
    assert {row.run_id: (row.site_correction, row.calibrated_for) for row in rows} == {
        first: ("applied", "Ward 3"),
        second: ("unknown_site", None),
    }
    database.close()


def test_parquet_has_the_same_rows_with_their_types(database, cohort, vault):
    read = pq.read_table(io.BytesIO(table(database, cohort, vault, "long", as_parquet)))
    assert (read.num_rows, str(read.schema.field("brain_age").type)) == (24, "double")
    assert read["participant_id"][0].as_py() == "=S-0"
    assert read["code"].to_pylist().count("too_noisy") == 1


def test_reading_a_cohort_takes_memory_for_a_few_hundred_members_at_a_time(database, cohort, vault):
    def peak(copies):
        with cohort_members(database, cohort, bundles(database)) as (session, members):
            some = list(members)
            many = chain.from_iterable(repeat(some, copies))
            tracemalloc.start()
            rows = table_rows(session, vault, many, "wide", bundles(database))
            written = sum(len(piece) for piece in as_csv(["x"], rows))
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return found, written

    (small, _), (large, written) = peak(100), peak(400)
    assert written > 1_000_000
    assert large < 1.5 * small
