"""The API against its own description: whatever is sent, no 5xx and no answer that the description does not know."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from med3d_contract.work import WorkerHello
from rig.service.parts import worker

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def service(shared_processes):
    shared_processes.hello(worker())
    return shared_processes


@pytest.fixture(scope="module")
def document(service):
    return service.client.get("/openapi.json").json()


# Read in other tests: /readyz asks a broker each time, the event stream never ends by itself, and what is stored over
# DICOMweb is multipart/related, which the generator cannot write.
STORES = {"/dicomweb/studies", "/dicomweb/studies/{study_uid}"}
SKIPPED = {"/runs/{run_id}/events", "/cohorts/{cohort}/events", "/readyz", *STORES}


def test_every_route_keeps_to_its_description(service, document):
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=service.url, request_timeout=60)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 15
    examples = 8 if service.settings.database_url is None else 3  # what the database makes of them is the same twice
    for operation in operations:
        if operation.path not in SKIPPED:
            key = service.worker_key if operation.path.startswith("/worker") else service.clinical_key
            try_out(operation, key, examples)


def try_out(operation, key, examples):
    """Send what the description allows."""

    # The same examples each time: a change is judged by what it does, not by luck.
    @settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    @given(case=operation.as_strategy())
    def answers_as_described(case):
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=CHECKS)

    answers_as_described()


def test_every_route_describes_its_errors_as_problems_and_shows_an_example(document):
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            described = json.dumps(route["responses"])
            assert "application/problem+json" in described, (method, path)
            assert "example" in described, (method, path)
            assert route["summary"], (method, path)
            for status, response in route["responses"].items():
                if status.startswith(("4", "5")) and path != "/readyz" and not path.startswith("/dicomweb"):
                    assert list(response["content"]) == ["application/problem+json"], (method, path, status)


def test_the_document_is_openapi_3_1_and_names_its_security(document):
    assert document["openapi"].startswith("3.1")
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    open_routes = {
        path for path, methods in document["paths"].items() for route in methods.values() if not route.get("security")
    }
    assert open_routes == {"/healthz", "/readyz", "/hooks/orthanc"}, "the hook's calls are signed"


def test_a_text_that_the_database_cannot_store_is_the_senders_error(service):
    hello = WorkerHello(worker=worker().model_copy(update={"worker_id": "a NUL \0"}), queues=())
    headers = {"Authorization": f"Bearer {service.worker_key}"}
    answer = service.client.post("/worker/hello", json=hello.model_dump(mode="json"), headers=headers)
    assert answer.status_code in {204, 422}, answer.text  # SQLite stores it, PostgreSQL does not
    if answer.status_code == 422:
        assert answer.json()["code"] == "invalid_request"
