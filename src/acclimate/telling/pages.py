"""HTML from templates, in which names and paths mean nothing to a browser."""

from __future__ import annotations

from typing import Any


def render(package: str, template: str, **told: Any) -> str:
    """Return HTML.

    Args:
        package: whose folder `templates` has the template.
        template: its file.
        told: what it shows; text is escaped.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value, digits=1: f"{100 * value:.{digits}f} %"
    return environment.get_template(template).render(**told)
