from django.apps import AppConfig


class HelpdeskConfig(AppConfig):
    name = "example_project.helpdesk"
    verbose_name = "Helpdesk"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from example_project.helpdesk import signals  # noqa: F401  connects its receivers
