from django.contrib import admin
from django.urls import include, path

from example_project.helpdesk.views import index

urlpatterns = [
    path("", index),
    path("admin/", admin.site.urls),
    # The endpoint as a Django view, for WSGI and for the test client. Under ASGI the mount in
    # asgi.py answers first.
    path("", include("mcp_sessions.urls")),
]
