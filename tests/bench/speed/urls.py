"""The example's URLs, and the page that Django itself is measured by."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from tests.bench.speed.client import CONSTANT


@csrf_exempt
async def constant(_: HttpRequest) -> HttpResponse:
    """The least that a view can do."""
    return HttpResponse(CONSTANT, content_type="application/json")


urlpatterns = [path("constant", constant), path("", include("example_project.urls"))]
