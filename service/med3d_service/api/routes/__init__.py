"""The routes of the results API."""

from typing import Annotated

from fastapi import Depends, Request

from med3d_service.api.service import Service


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceParts = Annotated[Service, Depends(_service)]
