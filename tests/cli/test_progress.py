"""The progress bar of the commands: on a terminal only, for what takes longer than a second, above it the messages."""

import io
import sys

from edmf_jax.cli import options


class Terminal(io.StringIO):
    """A standard error that says it is one."""

    def isatty(self):
        return True


def test_long_work_shows_its_share_and_its_name(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(options, "_BAR_AFTER_S", 0)
    with options.progress_bar() as progress:
        progress("reading", 0.25)
        progress("fusing", 0.5)
        options.say("fuse")("a line")
    shown = terminal.getvalue()
    assert "25 %|" in shown and "edmf fuse: a line\n" in shown
    assert "reading" in shown and "fusing" in shown
    assert shown.split("\r")[-2:] == [" " * len(shown.split("\r")[-2]), ""]  # the bar does not stay


def test_short_work_and_a_file_show_none(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with options.progress_bar() as progress:
        progress("fusing", 0.5)
    assert terminal.getvalue() == ""
    monkeypatch.setattr(options, "_BAR_AFTER_S", 0)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with options.progress_bar() as progress:
        progress("fusing", 0.5)
    assert sys.stderr.getvalue() == ""
    options.print_line("done")
    assert capsys.readouterr().out == "done\n"
