"""Who is told of an alert."""

from router.routing import Route, one_sink, sinks_for
from tests.support.alerts import opened


def test_without_a_routes_document_everything_goes_to_the_one_sink():
    assert sinks_for(opened(), one_sink("webhook")) == ("webhook",)


def test_a_sink_is_told_once_however_many_routes_lead_to_it():
    routes = (Route(("stdout", "webhook")), Route(("webhook", "mail")))
    assert sinks_for(opened(), routes) == ("stdout", "webhook", "mail")
