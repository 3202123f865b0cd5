"""Control codes of others do not reach a terminal, and their formulas no spreadsheet."""

import csv
import logging
import logging.config
import re
from pathlib import Path

import yaml
from judge.faults import NOTE
from synthetic_runs import make_run

from medgrpo.compare.__main__ import main as compare
from medgrpo.terminal import printable

CONF = Path(__file__).parents[1] / "conf" / "hydra" / "medgrpo.yaml"
CODES = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202e]")


def test_names_and_errors_of_foreign_runs_are_shown_and_not_obeyed(tmp_path, capsys):
    make_run(tmp_path / f"a {NOTE.replace('/', '')}", seed=1)
    make_run(tmp_path / "b", seed=2, status=f"failed {NOTE}", error=f"boom {NOTE}\u202e")
    assert compare([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert not CODES.search(out)
    told = "".join(out.split())  # it folds at the width of the terminal
    assert r"boom\x1b[31mred\x1b[0m\x1b]0;title\x07\u202e" in told


def test_an_endpoint_cannot_write_to_the_terminal(server, medgrpo):
    server.faults = {"403": 1.0}
    done = medgrpo("judge=local_server", f"judge.base_url={server.url}", "judge.cache=null")
    assert done.returncode == 2
    assert r"forbidden \x1b[31mred" in done.stderr
    assert not CODES.search(done.stdout + done.stderr)


def test_nor_into_the_log(capsys):
    node = yaml.safe_load(CONF.read_text(encoding="utf-8"))["job_logging"]
    stream = {"class": "logging.StreamHandler", "formatter": "simple", "stream": "ext://sys.stdout"}
    logger = {"handlers": ["here"], "level": "INFO", "propagate": False}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": node["formatters"],
            "handlers": {"here": stream},
            "loggers": {"medgrpo.told": logger},
        }
    )
    try:
        logging.getLogger("medgrpo.told").warning("no verdict: %s", NOTE)
    finally:
        logging.getLogger("medgrpo.told").handlers.clear()
    assert capsys.readouterr().out == f"no verdict: {printable(NOTE)}\n"


def test_lines_and_letters_of_all_languages_stay():
    text = "Ärzte:\tja\n医生 हाँ 👩‍⚕️"
    assert printable(text) == text


def test_cells_that_would_be_formulas_are_text(tmp_path, capsys):
    formula = '=HYPERLINK("http://127.0.0.1/?"&A1)'
    make_run(tmp_path / "@SUM(A1)", seed=1, status="failed", error=formula)
    make_run(tmp_path / "b", seed=2, score=-0.5)
    assert compare([str(tmp_path)]) == 0
    with (tmp_path / "comparison.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert rows["'@SUM(A1)"]["error"] == f"'{formula}"
    assert rows["b"]["score"] == "-0.5"
