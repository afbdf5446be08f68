"""The environment variables that are ours, so that every process refuses a name that nobody reads.

A mistyped name would otherwise leave a setting at its default in silence. Each process knows its own settings alone,
while one environment is often handed to all: so the names of all stand here, and a test holds them to the settings.
"""

import difflib
import re
from collections.abc import Collection, Iterator

PREFIX = "MED3D_"
_NAMES = """
AE_TITLES_FILE ALIVE_FILE ALLOW_DEMONSTRATION_HEADS ALLOW_UNTRUSTED_BUNDLE ALLOW_UNTRUSTED_CALIBRATION
ANSWER_STALL_S API_URL AUDIT_SYSLOG_CA_FILE AUDIT_SYSLOG_URL BODY_BYTES_PER_S BODY_GRACE_S BODY_LONGEST_S
BROKER_URL BROKER_URL_FILE BUNDLE BUNDLE_DIRS BUNDLE_KEYS CALIBRATION CALIBRATION_KEYS CHILDREN CHILD_MEMORY_KIB
COHORT_AHEAD CONNECTIONS CONNECTIONS_PER_ADDRESS COURIER_CPU_S COURIER_MEMORY_BYTES COURIER_POLL_S
COURIER_TIMEOUT_S DATABASE_URL DATA_DIR DEFACE DEFAULT_BUNDLE DELIVERER_POLL_S DELIVERIES_FILE
DELIVERY_COMMITMENT_S DELIVERY_FIRST_S DELIVERY_GIVE_UP_S DELIVERY_LEASE_S DELIVERY_LONGEST_S DICOM_ALLOWED
DICOM_ASSOCIATIONS DICOM_ASSOCIATIONS_PER_ADDRESS DICOM_HOST DICOM_IDLE_S DICOM_PORT DICOM_TLS_CERT
DICOM_TLS_CLIENT_CA DICOM_TLS_KEY EXPLANATIONS FAILED_KEYS_PER_MINUTE FETCHER_POLL_S GPU_DEVICE GPU_DEVICES
GPU_MEM_LIMIT_BYTES HEAD_S HEARTBEAT_S HL7_ALLOWED HL7_AUTHORITY HL7_CONNECTIONS HL7_HOST HL7_IDLE_S
HL7_MERGES_DAYS HL7_MESSAGE_BYTES HL7_PORT HL7_SITES HL7_TLS_CERT HL7_TLS_CLIENT_CA HL7_TLS_KEY HOOK_AGE_S HOST
IDENTIFIER_KEYS IMAGES_CHARACTER_SET LEASE_S LEDGER_EVERY_S LEDGER_PATIENCE_S LEFTOVER_S MASK_PRECISION MAX_FILES
MAX_INSTANCE_BYTES MAX_TRIES MAX_UNPACKED_BYTES MAX_UNPACK_RATIO MAX_UPLOAD_BYTES OIDC_ALLOW_INSECURE OIDC_AUDIENCE
OIDC_CA_FILE OIDC_CLIENT_ID OIDC_CLIENT_SECRET OIDC_ISSUER OIDC_JWKS_URL OIDC_ROLES_CLAIM OIDC_ROLE_PREFIX OIDC_SCOPES
OIDC_SITE_CLAIM PARALLEL_REQUESTS PEERS_FILE PORT PREDICT_BATCH PROVIDER PULL_FIRST_S PULL_GIVE_UP_S
PULL_LEASE_S PULL_LONGEST_S QUEUES QUIET_S READY_FRESH_S REDISPATCH_S REQUESTS_PER_MINUTE RESERVE_BYTES
RETAIN_AUDIT_DAYS RETAIN_INPUT_DAYS RETAIN_LATENT_DAYS RETAIN_RESULT_DAYS RETAIN_TENSOR_DAYS RETENTION_EVERY_S
RULES_FILE SCALE_TARGET_S SCRATCH_DIR SESSION_IDLE_S SESSION_LONGEST_S SITE SITE_KEY STORE_URL SWEEP_S T1_WAIT_S
THREADS TLS_CERT TLS_KEY TRUSTED_PROXIES WORKER_KEY WORKER_KEY_FILE WORKER_SILENT_S
"""
SETTINGS = frozenset(_NAMES.split())
"""Of service and worker, without PREFIX; each may be read from the file that NAME_FILE names."""
OF_CLIENTS = frozenset({"MED3D_URL", "MED3D_API_KEY", "MED3D_API_KEY_FILE", "MED3D_HOOK_SECRET"})
NOT_READ_BY_US = re.compile(r"MED3D_(TEST_.*|FIELD_CASES|NODE_PEERS|PYTHON|WHEELS|GPU_VENV|.*_(IMAGE|MEMORY))")
"""Of tests, of scripts that set up a machine, and of compose files."""
LINK = "_SERVICE_HOST"
"""Kubernetes tells each container of each Service: NAME_SERVICE_HOST, NAME_SERVICE_PORT, NAME_PORT and more."""


def unknown_variables(environment: Collection[str]) -> Iterator[str]:
    """Return sentences on variables of ours that nobody reads, each with the nearest name that there is."""
    names = {PREFIX + name for name in SETTINGS}
    known = names | {f"{name}_FILE" for name in names} | OF_CLIENTS
    links = [name.removesuffix(LINK) for name in environment if name.startswith(PREFIX) and name.endswith(LINK)]
    of_links = tuple(f"{link}{part}" for link in links for part in ("_SERVICE_", "_PORT"))
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in known:
            continue
        if NOT_READ_BY_US.fullmatch(name) or name.startswith(of_links):
            continue
        near = difflib.get_close_matches(name, sorted(known), n=1)
        yield f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else "")
