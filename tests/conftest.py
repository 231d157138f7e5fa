"""Shared by all tests; beside tests/__init__.py, it puts the repository root on sys.path for `tests.helpers`."""
