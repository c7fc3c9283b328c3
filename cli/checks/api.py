"""Who gets at the API."""

from cli.checks.finding import Finding, ok, warning
from schemas.documents.services import ApiSettings


def access(settings: ApiSettings) -> Finding:
    """Whether what is reached from other machines asks who is there, and is encrypted."""
    said = f"{settings.host}:{settings.port}, auth {settings.auth}, TLS {'on' if settings.tls_certificate else 'off'}"
    if settings.host in ("127.0.0.1", "::1", "localhost"):
        return ok("api", f"{said}: this machine only")
    if settings.auth == "off":
        return warning("api", f"{said}: whoever reaches it may read and change everything", "API_AUTH=tokens")
    if settings.tls_certificate is None:
        do = "set API_TLS_CERTIFICATE and API_TLS_KEY, or put a proxy with TLS in front and publish only that"
        return warning("api", f"{said}: tokens and pictures travel in clear", do)
    return ok("api", said)
