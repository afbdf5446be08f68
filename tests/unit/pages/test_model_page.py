"""The page of models: what the bundle says of itself, who signed it, and how often people agreed."""

import re

import pytest

from med3d_contract.bundle_cards import BundleCard, CardTraining, bundle_card_key
from med3d_contract.pictures import ReferenceCohort, reference_cohort_key
from med3d_contract.results import BundleRef
from med3d_service.runs.bundles import register_bundles
from med3d_service.trust.access import Role
from rig.service.answers_of_pages import answered
from rig.service.work import BUNDLE

CARD = BundleCard(
    name="bundle",
    version="1",
    digest=BUNDLE.digest,
    description="A model <b>",
    intended_use="Research.",
    limits=("Adults alone.",),
    licence="CC-BY",
    training=CardTraining(
        name="IXI",
        description="136 healthy adults.",
        source="IXI",
        licence="CC",
        subjects=136,
        age_range_years=(20.0, 86.0),
        field_strengths_t=(3.0,),
        vendors=("Philips",),
    ),
    interval_level=0.9,
    review_percentile=98.0,
    sdmt_evidence="simulated labels",
    metrics={
        "brain_age_mae": 5.894,
        "brain_age_mae_lower_95": 5.26,
        "brain_age_mae_upper_95": 6.55,
        "interval_half_width_years": 12.4,
        "coverage": 0.905,
        "brain_age_mae_20_to_40": 5.69,
        "brain_age_mae_site_HH": 5.96,
        "brain_age_bias_site_HH": -0.13,
        "baseline_mean_only_mae": 14.11,
    },
    signed_by="release 2026",
)


@pytest.fixture(scope="module")
def with_card(api):
    store = api.service.store
    store.put(bundle_card_key(BUNDLE.digest), CARD.model_dump_json().encode())
    cohort = ReferenceCohort(name="IXI", ages=(30.0, 60.0), brain_ages=(33.0, 58.0), pls_age=())
    store.put(reference_cohort_key(BUNDLE.digest), cohort.model_dump_json().encode())


def test_the_card_says_how_well_it_does_on_whom_and_where(browser, with_card):
    browser.sign_in(Role.VIEWER)
    page = browser.get("/ui/model").text
    for said in ("5.89", "5.26 to 6.55", "± years", "136 healthy adults.", "20 to 86 years", "Philips", "site HH",
                 "20 to 40 years", "signed by release 2026", "A model &lt;b&gt;", "Ward 3", "14.11"):  # fmt: skip
        assert said in page, said
    assert page.count("<circle cx") == 2
    assert browser.get(f"/ui/model?bundle={BUNDLE.digest}").status_code == 200
    assert browser.get("/ui/model?bundle=other").status_code == 422


def test_an_operator_withdraws_a_calibration(browser, api, with_card):
    form = {"digest": api.ids["calibration_digest"]}
    browser.sign_in(Role.SUBMITTER)
    assert "/calibrations/withdraw" not in browser.get("/ui/model").text
    assert browser.post("/ui/model/calibrations/withdraw", form, page="/ui/account").status_code == 403
    operator = type(browser)(api)
    operator.sign_in(Role.OPERATOR)
    for spoilt in ("a" * 64, "Doe, Jane", ""):
        told = operator.post("/ui/model/calibrations/withdraw", {"digest": spoilt}, page="/ui/model")
        assert (told.status_code, "unknown_calibration" in told.text) == (404, True), spoilt
    done = operator.post("/ui/model/calibrations/withdraw", form, page="/ui/model")
    assert done.headers["location"] == "/ui/model#calibrations"
    page = operator.get("/ui/model").text
    assert "/calibrations/withdraw" not in page
    assert "withdrawn" in page.split('id="calibrations"')[1]


def test_an_administrator_of_all_sites_makes_a_model_the_default_and_retires_another(browser, api, with_card):
    newer = BundleRef(name="bundle", version="2", digest="c" * 64)
    with api.service.database.write() as session:
        register_bundles(session, [newer])
    browser.sign_in(Role.ADMIN, site="default")
    assert "/ui/model/activate" not in browser.get("/ui/model").text
    administrator = type(browser)(api)
    administrator.sign_in(Role.ADMIN)
    told = administrator.post("/ui/model/activate", {"digest": newer.digest}, page="/ui/model")
    assert (told.status_code, "Start a worker with it first" in told.text) == (409, True)
    assert administrator.post("/ui/model/retire", {"digest": "Doe"}, page="/ui/model").status_code == 422
    done = administrator.post("/ui/model/retire", {"digest": newer.digest}, page="/ui/model")
    assert done.headers["location"] == "/ui/model#bundles"
    page = administrator.get("/ui/model").text
    assert "retired" in page
    assert "/ui/model/retire" not in page


def test_agreement_counts_the_verdicts_that_stand_of_the_caller_s_site(api, browser, with_card):
    key = api.key(Role.SUBMITTER)
    for verdicts in (("accepted",), ("accepted", "rejected"), ("comment",)):
        run_id = answered(api)
        for verdict in verdicts:
            api.request("POST", f"/runs/{run_id}/verdicts", key, json={"verdict": verdict, "why": "x"})
    browser.sign_in(Role.VIEWER)
    table = browser.get("/ui/model").text.split('id="agreement"')[1].split("</table>")[0]
    assert re.findall(r'<td[^>]*class="number"[^>]*>([^<]*)<', table) == ["1", "1", "0", "50\u202f%"]
    other = type(browser)(api)
    other.sign_in(Role.VIEWER, site="elsewhere")
    assert "Nobody has given a verdict on this model" in other.get("/ui/model").text
