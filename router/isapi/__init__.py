"""Hikvision's ISAPI, as far as raising an alarm needs it. What goes over the wire is data (`router.isapi.profile`)."""
