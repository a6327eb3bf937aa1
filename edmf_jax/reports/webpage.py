"""A report as one self-contained HTML file: a Jinja2 template, its style and script, and its data as JSON.

A page loads nothing from elsewhere, and its Content-Security-Policy forbids that: pictures are `data:` URIs, and the
one style and the one script are inline and allowed by their hash.  Templates escape every variable, so names that
users chose (of methods, files, pairs) are always text, never markup.
"""

import base64
import functools
import hashlib
import json
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup


def render_page(template: str, scripts: Sequence[str], **variables: Any) -> str:
    """The page as HTML.

    Args:
      template: a file of `assets/` that extends base.html.j2.
      scripts: JavaScript files of `assets/`, in order; together they become one script in a scope of its own.
      variables: of the template.  Strings are escaped where they stand, except `Markup` such as `script_json` returns.

    Raises:
      jinja2.UndefinedError: the template uses a variable that is not given.
    """
    style = _read_asset("style.css")
    script = "(() => {\n\"use strict\";\n" + "\n".join(map(_read_asset, scripts)) + "\n})();\n"
    policy = (f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
              "base-uri 'none'; form-action 'none'")
    return _environment().get_template(template).render(policy=Markup(policy), style=Markup(style),
                                                        script=Markup(script), **variables)


def script_json(value: Any) -> Markup:
    """`value` as JSON for a `<script>` element: with <, > and & as \\uXXXX it can't end the element or open a comment.

    U+2028 and U+2029 are escaped too, because older JavaScript takes them for line ends; and lone surrogates, which
    stand for bytes of a file's name that are no UTF-8.

    Raises:
      ValueError: `value` contains NaN or infinity, which JSON does not have.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text))


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(loader=jinja2.PackageLoader("edmf_jax.reports", "assets"), autoescape=True,
                              undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                              keep_trailing_newline=True)


def _read_asset(name: str) -> str:
    return (resources.files("edmf_jax.reports") / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The text's hash as a Content-Security-Policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
