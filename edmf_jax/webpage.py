"""Pages as one HTML file: a template and its parts from `report_page/`, and data for its script.

Nothing on a page comes from elsewhere, and its Content-Security-Policy forbids
it: pictures are `data:`, style and script are in the page and named by their hash.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any


def assemble(template: str, scripts: Sequence[str], parts: Mapping[str, str]) -> str:
    """The page.

    Args:
      template: a file of `report_page/`, what follows on `head.html`; `{{policy}}`, `{{css}}`, `{{script}}` and those
        of `parts` are filled in, for the head `title` and `generator` (the command that makes the page).
      scripts: files of `report_page/`, which become one script in a scope of its own.
      parts: HTML; whatever a user named is escaped in it already.
    """
    css, script = _file("page.css"), "(() => {\n\"use strict\";\n" + "\n".join(map(_file, scripts)) + "\n})();\n"
    policy = (f"default-src 'none'; img-src data:; style-src '{_hash(css)}'; script-src '{_hash(script)}'; "
              "base-uri 'none'; form-action 'none'")
    parts = {"policy": policy, "css": css, "script": script, **parts}
    # One pass: what was put in is not looked through again.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _file("head.html") + _file(template))


def to_script(value: Any) -> str:
    """JSON that can stand in a `<script>`: nothing in it ends the element, or begins a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", text)


def data_elements(texts: Sequence[str]) -> str:
    """What the viewer shows, `to_script` of each, as elements that it finds."""
    return "\n".join(f'<script type="application/json" class="pair">{text}</script>' for text in texts)


def _file(name: str) -> str:
    return (resources.files("edmf_jax") / "report_page" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
