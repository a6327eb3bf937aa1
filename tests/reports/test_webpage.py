"""Pages as such: escaping, no requests, only our own script may run, and the assets are in the package."""

import base64
import hashlib
import json
import re
from importlib import resources

import jinja2
import pytest

from edmf_jax.reports.evaluation_data import load_evaluation
from edmf_jax.reports.evaluation_html import render
from edmf_jax.reports.webpage import render_page, script_json
from tests.helpers.reports import make_evaluation, make_scene


@pytest.fixture
def page(tmp_path):
    """A page without pictures."""
    make_evaluation(tmp_path, ["m"], {str(i): make_scene(str(i), 20, 24) for i in range(3)}, pictures=False)
    return render(load_evaluation(tmp_path), [])


def test_json_can_not_end_its_script():
    nasty = "\u2028<!--</script>&-->"
    assert json.loads(script_json(nasty)) == nasty
    assert not re.search("[<>&\u2028]", script_json(nasty))
    with pytest.raises(ValueError):
        script_json(float("nan"))


def test_nothing_is_fetched_and_only_our_own_script_may_run(page):
    bare = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    assert not re.search(r"\b(src|href)\s*=\s*[\"'](?!#|data:)", bare)
    assert not re.search(r"@import|url\(|XMLHttpRequest|fetch\(|innerHTML|eval\(", bare)
    assert not re.search(r"\sstyle=|\son\w+=", bare)  # the policy would forbid them
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "connect-src" not in policy
    for kind, text in (("style", re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]),
                       ("script", re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_a_missing_variable_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="what"):
        render_page("fusion.html.j2", [], title="", heading="")


def test_the_assets_are_in_the_package(page):
    folder = resources.files("edmf_jax") / "reports" / "assets"
    assert {item.name for item in folder.iterdir()} == {
        "base.html.j2", "evaluation.html.j2", "fusion.html.j2", "viewer.html.j2", "dot_plot.html.j2", "style.css",
        "common.js", "compare.js", "viewer.js", "evaluation.js", "matches.js", "fusion.js"}
    assert "{{" not in page and "{%" not in page
