"""Which hosts a sink may reach."""

import ipaddress

import pytest

from router.targets import allowed_of, literal, wrong_address, wrong_host


def allows(host, address, listed=None):
    allowed = allowed_of(listed)
    return wrong_host(host, allowed) is None and wrong_address(host, ipaddress.ip_address(address), allowed) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.1.2.3", "192.168.7.7", "93.184.216.34", "[fd00::1]"])
def test_an_address_that_the_url_names_itself_is_reached(host):
    assert allows(host, host.strip("[]"))


@pytest.mark.parametrize("host", ["169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "::ffff:169.254.169.254"])
def test_one_of_the_link_must_be_listed(host):
    assert not allows(host, host)
    assert allows(host, host, [str(literal(host))])


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "::1", "fd00::1",
     "fe80::1", "::ffff:10.0.0.1", "224.0.0.1"],
)  # fmt: skip
def test_a_name_that_nobody_listed_leads_to_no_address_of_the_plant(address):
    assert not allows("desk.example", address)
    assert "not public" in wrong_address("desk.example", ipaddress.ip_address(address), allowed_of(None))


def test_a_name_that_nobody_listed_may_lead_outside_and_localhost_is_here():
    assert allows("desk.example", "93.184.216.34")
    assert allows("desk.example", "2606:2800:220:1:248:1893:25c8:1946")
    assert allows("localhost", "127.0.0.1")
    assert not allows("localhost", "10.0.0.1")


def test_with_a_list_nothing_else_is_reached():
    listed = ["desk.plant", "*.hooks.example", "10.7.0.0/16", "127.0.0.1"]
    assert allows("desk.plant", "192.168.1.1", listed)
    assert allows("Desk.Plant.", "192.168.1.1", listed)
    assert allows("a.b.hooks.example", "93.184.216.34", listed)
    assert allows("anything.example", "10.7.1.1", listed)
    assert allows("127.0.0.1", "127.0.0.1", listed)
    assert not allows("127.0.0.2", "127.0.0.2", listed)
    assert not allows("hooks.example", "93.184.216.34", listed)
    assert not allows("nothooks.example", "93.184.216.34", listed)
    assert not allows("10.8.0.1", "10.8.0.1", listed)
    assert not allows("desk.plant.evil.example", "93.184.216.34", listed)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "fe80::1", "::ffff:127.0.0.1"])
def test_a_listed_name_leads_to_this_machine_only_where_that_is_listed_too(address):
    assert not allows("desk.plant", address, ["desk.plant"])
    assert allows("desk.plant", address, ["desk.plant", str(literal(address))])


def test_a_name_is_refused_at_once_where_only_names_are_listed():
    assert wrong_host("other.example", allowed_of(["desk.plant"])) == "is not in allowed_targets"
    assert wrong_host("other.example", allowed_of(["10.0.0.0/8"])) is None, "the DNS will tell"
    assert wrong_host("other.example", allowed_of([])) is not None


@pytest.mark.parametrize("entry", ["http://desk", "desk:80", "desk/8", "*", "a..b", "10.0.0.300", "", "de sk", "10.1"])
def test_an_entry_that_is_no_target_is_named(entry):
    with pytest.raises(ValueError, match=r"allowed_targets\[1\]"):
        allowed_of(["desk.plant", entry])
