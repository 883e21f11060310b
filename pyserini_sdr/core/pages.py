"""Self-contained HTML pages from templates: what stands in them is escaped, and a name that is missing is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2


def template(path: Path) -> Any:
    """The jinja2 template in a file; its values are escaped unless they are `Markup`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(path.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(path.name)
