"""Requests made from the server's own OpenAPI: none meets a defect, and every answer is as the description says."""

from collections import Counter

import hypothesis
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation.modes import GenerationMode
from serving import as_png

HELD = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")


@st.composite
def pictures(draw):
    """A PNG as it should be, cut, or with a byte changed; or no picture at all."""
    side = draw(st.integers(1, 40))
    data = as_png(np.full((side, draw(st.integers(1, 40)), 3), draw(st.integers(0, 255)), np.uint8))
    cut, place = draw(st.integers(0, len(data))), draw(st.integers(0, len(data) - 1))
    changed = data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :]
    return draw(st.sampled_from([data, data, data[:cut], changed]) | st.binary(max_size=200))


load_all_checks()
for media in ("image/png", "image/jpeg", "application/octet-stream"):
    schemathesis.openapi.media_type(media, pictures())


@pytest.mark.parametrize("count", [100, pytest.param(5_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_any_request_is_answered_as_described(server, count):
    address = f"http://127.0.0.1:{server.port}"
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    checks = CHECKS.get_by_names(HELD)
    met: Counter[tuple[str, int]] = Counter()
    for operation in (found.ok() for found in schema.get_all_operations()):
        for mode in GenerationMode:
            if mode is GenerationMode.NEGATIVE and operation.path != "/v1/predict":
                continue  # what takes nothing can be given nothing wrong

            @hypothesis.settings(
                max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck)
            )
            @hypothesis.seed(0)
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def ask(case):
                response = case.call(base_url=address)
                met[case.path, response.status_code] += 1
                if response.status_code != 503:
                    case.validate_response(response, checks=checks)

            ask()
    assert sum(met.values()) >= 1.5 * count, met
    for path, status in (("/v1/predict", 200), ("/v1/predict", 415), ("/v1/predict", 422), ("/v1/model", 200)):
        assert met[path, status], met
