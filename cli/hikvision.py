"""`backsight hikvision …`: what a recorder or camera can do."""

import asyncio
import os
import sys

import click

from cli.options import refuse
from router.isapi.answers import Reply, text_at, tree_of
from router.isapi.client import Device, address_of
from router.isapi.discovery import Capabilities, discover
from router.isapi.profile import Profile, Request
from router.posting import trusting
from runtime.lifecycle import EXIT_FAULT
from schemas.problems import Problem

PASSWORD = "HIKVISION_PASSWORD"  # noqa: S105
MOST_SHOWN = 4


@click.group()
def hikvision() -> None:
    """Ask a Hikvision recorder or camera what it can do."""


@hikvision.command()
@click.argument("url", envvar="ALERTING_HIKVISION_URL")
@click.option("--username", help=f"The password is then asked for, or taken from {PASSWORD}.")
@click.option("--ca-file", help="The device's own certificate, or that of who vouches for it.")
@click.option("--tls-name", help="The name in the device's certificate, where that is not the URL's host.")
def probe(url: str, username: str | None, ca_file: str | None, tls_name: str | None) -> None:
    """Print what the device at URL can do for the sink `hikvision`. It only reads: nothing is turned on.

    The report holds no address, name, serial number or password: it may be sent to us with a new model.

    Exit code 0: the sink can work with it, 1: it cannot, or the device was not reached, 2: the URL is none.
    """
    try:
        password = None
        if username is not None:
            password = os.environ.get(PASSWORD) or click.prompt("Password", hide_input=True, err=True)
        address, trusted = address_of(url, username, password), trusting(ca_file)
    except ValueError as error:
        refuse([Problem("hikvision probe", str(error))])
    capabilities, replies, states = asyncio.run(_ask(Device(address, trusted=trusted, tls_name=tls_name)))
    click.echo(report(capabilities, replies, states))
    if not capabilities.actions:
        sys.exit(EXIT_FAULT)


async def _ask(device: Device) -> tuple[Capabilities, dict[str, Reply], dict[int, str]]:
    profile = Profile()
    states: dict[int, str] = {}
    try:
        capabilities, replies = await discover(device, profile)
        for number in range(1, min(capabilities.outputs, MOST_SHOWN) + 1):
            path = profile.output_status.replace("{number}", str(number))
            replies[path] = await device.ask(Request("GET", path))
            states[number] = text_at(tree_of(replies[path].body), "ioState") or "not said"
    finally:
        await device.close()
    return capabilities, replies, states


def report(capabilities: Capabilities, replies: dict[str, Reply], states: dict[int, str]) -> str:
    """What was found, for a person; fit to be shown to anybody."""
    known = capabilities
    lines = [
        f"model         {known.model or 'not said'}",
        f"firmware      {known.firmware or 'not said'}",
        f"soft inputs   {known.soft_inputs or 'none'}",
        f"alarm outputs {known.outputs or 'none'}"
        + "".join(f"; output {number} is {_word(state)}" for number, state in states.items()),
        f"alarm inputs  {known.alarm_inputs or 'none'} (wired: nothing can trigger them over the network)",
        f"recordings    {'yes' if known.records else 'not said'}",
        "",
        *(f"{path}  {_said(reply)}" for path, reply in replies.items()),
        "",
    ]
    if known.actions:
        others = f"; then {', '.join(known.actions[1:])}" if known.actions[1:] else ""
        lines.append(f"`action: auto` would use {known.actions[0]}{others}")
    elif not any(reply.status for reply in replies.values()):
        lines.append("the device was not reached: is the address right, and may this machine reach it?")
    else:
        lines.append("the sink cannot work with this device as this user")
    return "\n".join(lines)


def _said(reply: Reply) -> str:
    return "ok" if reply.verdict == "ok" else reply.answer.detail


def _word(state: str) -> str:
    return state if state in ("active", "inactive") else "not said"
