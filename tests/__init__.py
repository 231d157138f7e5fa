import pytest

pytest.register_assert_rewrite("tests.helpers")  # their assertions tell as much as those of the tests
