"""Who may do what in the cluster: its ACLs, and users with passwords (SCRAM-SHA-512)."""

import contextlib
from collections.abc import Collection, Iterable
from typing import Final

import msgspec
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from runtime.kafka import AdminClient, KafkaError, KafkaException
from schemas.grants import Grant

SECONDS: Final = 30.0
ITERATIONS: Final = 8192
_ABSENT: Final = {KafkaError.RESOURCE_NOT_FOUND}

Allowed = tuple[str, Grant]
"""A principal (`User:backsight-rules`) and one thing it is allowed, from every host."""


class AclError(RuntimeError):
    """The cluster does not do it; says why."""


def allowed(cluster: AdminClient) -> set[Allowed]:
    """Every ACL on topics and groups that allows something from every host. Raises `AclError`."""
    every = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ALLOW
    )
    try:
        found = cluster.describe_acls(every, request_timeout=SECONDS).result()
    except KafkaException as error:
        raise _refused(error) from None
    return {read for each in found if (read := _read(each)) is not None}


def allow(cluster: AdminClient, wanted: Iterable[Allowed]) -> None:
    """Adds ACLs; those that are there stay. Raises `AclError`."""
    bindings = [_binding(each) for each in sorted(wanted)]
    _all_done(cluster.create_acls(bindings, request_timeout=SECONDS).values() if bindings else ())


def forbid(cluster: AdminClient, unwanted: Iterable[Allowed]) -> None:
    """Takes ACLs away. Raises `AclError`."""
    filters = [
        AclBindingFilter(
            each.restype,
            each.name,
            each.resource_pattern_type,
            each.principal,
            each.host,
            each.operation,
            each.permission_type,
        )
        for each in map(_binding, sorted(unwanted))
    ]
    _all_done(cluster.delete_acls(filters, request_timeout=SECONDS).values() if filters else ())


def put_user(cluster: AdminClient, name: str, password: str) -> None:
    """Makes a user, or gives it another password. Raises `AclError`."""
    credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
    _alter(cluster, UserScramCredentialUpsertion(name, credential, password.encode()))


def remove_user(cluster: AdminClient, name: str) -> None:
    """Takes a user away; one that is not there is none. Raises `AclError`."""
    _alter(cluster, UserScramCredentialDeletion(name, ScramMechanism.SCRAM_SHA_512))


def users(cluster: AdminClient) -> set[str]:
    """Every user with a password. Raises `AclError`."""
    try:
        return set(cluster.describe_user_scram_credentials(request_timeout=SECONDS).result())
    except KafkaException as error:
        raise _refused(error) from None


def _alter(cluster: AdminClient, change: UserScramCredentialUpsertion | UserScramCredentialDeletion) -> None:
    _all_done(cluster.alter_user_scram_credentials([change], request_timeout=SECONDS).values(), excused=_ABSENT)


def _all_done(answers: Iterable[object], excused: Collection[int] = ()) -> None:
    for answer in answers:
        try:
            answer.result()  # type: ignore[attr-defined]
        except KafkaException as error:
            if error.args[0].code() not in excused:
                raise _refused(error) from None


def _refused(error: KafkaException) -> AclError:
    if error.args[0].code() == KafkaError.SECURITY_DISABLED:
        return AclError(
            "the cluster has no authorizer, so whoever reaches it may do everything; set authorizer.class.name to "
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer and super.users to whoever administers it"
        )
    return AclError(f"the cluster refused: {error.args[0].str()}")


def _binding(allowed: Allowed) -> AclBinding:
    principal, grant = allowed
    return AclBinding(
        ResourceType[grant.resource.upper()],
        grant.name,
        ResourcePatternType[grant.pattern.upper()],
        principal,
        "*",
        AclOperation[grant.operation.upper()],
        AclPermissionType.ALLOW,
    )


def _read(found: AclBinding) -> Allowed | None:
    if found.host != "*" or found.restype not in (ResourceType.TOPIC, ResourceType.GROUP):
        return None
    plain = {
        "resource": found.restype.name.lower(),
        "name": found.name,
        "pattern": found.resource_pattern_type.name.lower(),
        "operation": found.operation.name.lower(),
    }
    with contextlib.suppress(msgspec.ValidationError):  # an operation that we never grant
        return found.principal, msgspec.convert(plain, Grant)
    return None
