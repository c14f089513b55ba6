import pytest

from sample_service.ports import AitherPorts


def test_a_service_is_found_in_the_callers_own_ring(monkeypatch):
    monkeypatch.setenv("AITHER_SERVICE_HOST_PREFIX", "aitheros-dev")
    assert AitherPorts.get_service_url("Genesis") == "http://aitheros-dev-genesis:8001"


def test_without_a_ring_the_original_host_names_hold(monkeypatch):
    monkeypatch.delenv("AITHER_SERVICE_HOST_PREFIX", raising=False)
    assert AitherPorts.get_service_url("Veil") == "http://aitheros-veil:3000"


def test_no_two_services_share_a_port():
    ports = list(AitherPorts.SERVICES.values())
    assert len(ports) == len(set(ports))


def test_an_unknown_service_is_refused_with_the_known_ones():
    with pytest.raises(KeyError, match="Genesis, Veil"):
        AitherPorts.get_service_url("Gensis")
