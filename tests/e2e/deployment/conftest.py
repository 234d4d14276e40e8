from tests.e2e.operations.conftest import operated

__all__ = ["operated"]
