"""comparison.html in a real browser, driven through the DevTools protocol."""

import json

import pytest
from browser import Page
from synthetic_runs import make_run, make_sweep

from medgrpo.compare.__main__ import main


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The page of a sweep in which one run has failed."""
    sweep = make_sweep(tmp_path_factory.mktemp("multirun") / "ranks")
    broken = make_run(sweep / "broken", rank=32, status="failed", score=None, error="<b>full</b>")
    for path in (broken.evaluation, broken.predictions, broken.metrics):
        path.unlink()
    assert main([str(sweep)]) == 0
    return sweep / "comparison.html"


@pytest.fixture(params=[1400, 400])
def page(browser, file, request):
    browser.open(file.as_uri(), request.param)
    return browser


def column(page: Page, table: str, number: int) -> list[str]:
    cells = f"document.querySelectorAll('#{table} tbody td:nth-child({number})')"
    return page.run(f"[...{cells}].map(cell => cell.textContent)")


def choose(page: Page, select: str, value: object) -> None:
    page.run(
        f"document.getElementById('{select}').value = '{value}';"
        f"document.getElementById('{select}').dispatchEvent(new Event('change'))"
    )


def test_nothing_fails_and_nothing_is_fetched(page, file):
    page.run("document.querySelectorAll('button').forEach(button => button.click())")
    assert page.of("Runtime.exceptionThrown") == []
    assert page.of("Log.entryAdded", "Runtime.consoleAPICalled") == []
    requested = {event["request"]["url"] for event in page.of("Network.requestWillBeSent")}
    assert {url for url in requested if not url.startswith("data:")} == {file.as_uri()}


def evaluated(path, **run):
    """A run that trained nothing, and so has no reward and no curve."""
    make_run(path, steps=0, **run)


def failed(path, **run):
    make_run(path, status="failed", score=None, error="full", **run).predictions.unlink()


ODD = {
    "nothing trained": [(evaluated, {"rank": 8}), (evaluated, {"rank": 16})],
    "other rows": [(evaluated, {"rows": 40}), (evaluated, {"rows": 60, "rank": 16})],
    "one run": [(make_run, {})],
    "all failed": [(failed, {"rank": 8}), (failed, {"rank": 16})],
    "one trained": [(make_run, {"rank": 8}), (evaluated, {"rank": 16})],
    "no rows": [(make_run, {"rows": 0, "accuracy": 0}), (make_run, {"rank": 16})],
}


@pytest.mark.parametrize("kind", ODD)
def test_pages_of_odd_runs_are_whole(browser, tmp_path, kind):
    """One part that fails would leave out all that comes after it."""
    for number, (made, run) in enumerate(ODD[kind]):
        made(tmp_path / f"run{number}", number=number, **run)
    assert main([str(tmp_path)]) == 0
    browser.open((tmp_path / "comparison.html").as_uri(), 1400)
    assert browser.of("Runtime.exceptionThrown") == []
    assert len(column(browser, "ranking", 1)) == len(ODD[kind])
    assert browser.run("document.getElementById('pair-test').textContent") != ""  # the last part


def test_a_weight_below_zero_is_drawn_on_its_own_scale(browser, tmp_path):
    """A reward that the others overrule; it was drawn below the panel."""
    run = make_run(tmp_path / "run")
    lines = map(json.loads, run.metrics.read_text().splitlines())
    weighted = [{**row, "rewards/tags/effective_weight": -row["step"] / 10} for row in lines]
    run.metrics.write_text("".join(f"{json.dumps(row)}\n" for row in weighted))
    assert main([str(tmp_path)]) == 0
    browser.open((tmp_path / "comparison.html").as_uri(), 1400)
    boxes = "[...document.querySelectorAll('#curves path.run')].map(p => p.getBBox())"
    assert browser.run(f"{boxes}.every(b => b.y >= 0 && b.y + b.height <= 190)")
    assert "-2.00" in browser.run("document.getElementById('curves').textContent")


def test_text_of_a_model_stays_text(page):
    assert page.run("document.title") == "Comparison of ranks"
    assert page.run("document.querySelectorAll('img, td b, pre b').length") == 0
    assert "<b>full</b>" in page.run("document.getElementById('ranking').textContent")


def test_the_page_is_no_wider_than_the_window(page):
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")


def test_every_run_is_in_the_ranking_and_in_the_charts(page):
    assert len(column(page, "ranking", 2)) == 11
    assert page.run("document.querySelectorAll('#parallel path.run').length") == 11
    panels = "[...document.querySelectorAll('#curves figure')]"
    assert page.run(f"{panels}.map(f => f.querySelectorAll('path.run').length)") == [10, 10, 10]
    assert page.run("document.querySelectorAll('#curves figcaption')[1].textContent") == "tags"


def test_headings_sort_by_value_and_back(page):
    headings = page.run("[...document.querySelectorAll('#ranking th')].map(th => th.textContent)")
    score = headings.index("score") + 1
    click = f"document.querySelector('#ranking th:nth-child({score}) button').click()"
    page.run(click)
    ascending = column(page, "ranking", score)
    assert ascending[:-1] == sorted(ascending[:-1])
    page.run(click)
    descending = column(page, "ranking", score)
    assert descending[:-1] == ascending[:-1][::-1]
    assert ascending[-1] == descending[-1] == "–"  # the failed run is last, either way


def test_settings_are_shown_with_what_their_seeds_tell(page):
    headings = page.run("[...document.querySelectorAll('#settings th')].map(th => th.textContent)")
    told = column(page, "settings", headings.index("conclusion") + 1)
    two = "two seeds: no claim"
    assert told[:4] == [two, "baseline", two, two]
    p_holm = column(page, "settings", headings.index("p (Holm)") + 1)
    assert [p != "–" for p in p_holm[:4]] == [True, False, True, True]


def test_single_runs_are_tested_against_those_of_other_settings(page):
    # the first of each test set: 7 runs beside it, one of which differs in its seed alone
    assert len(column(page, "tests", 1)) == 6 + 1


def test_two_runs_are_told_apart(page):
    choose(page, "first", 0)
    choose(page, "second", 3)
    names = page.run("[...document.getElementById('first').options].map(o => o.textContent)")
    assert names[0].startswith("16_2.0_1")
    keys = column(page, "diff", 1)
    first, second = column(page, "diff", 2), column(page, "diff", 3)
    assert "rewards.tags.weight" in keys
    assert all(a != b for a, b in zip(first, second, strict=True))
    told = page.run("document.getElementById('pair-test').textContent")
    assert "On 40 rows that both answered" in told
    assert "about these two trained models, not about their settings" in told
    answers = page.run("[...document.querySelectorAll('#answers pre')].map(p => p.textContent)")
    assert answers[0] != answers[1]
    choose(page, "second", 0)
    assert column(page, "diff", 1) == []


def test_runs_without_a_common_question_say_so(page):
    last = page.run("document.getElementById('second').options.length") - 1
    choose(page, "first", 0)
    choose(page, "second", last)
    assert "no held-out row" in page.run("document.getElementById('pair-test').textContent")
    assert "Nothing to show" in page.run("document.getElementById('asked').textContent")


def test_curves_are_coloured_by_what_is_chosen(page):
    choose(page, "colour", "lora.r")
    legend = page.run("[...document.querySelectorAll('#legend span')].map(s => s.textContent)")
    assert legend == ["8", "16", "32"]
    drawn = "document.querySelectorAll('#curves figure:first-child path.run')"
    assert len(set(page.run(f"[...{drawn}].map(p => p.getAttribute('stroke'))"))) == 2


def test_metrics_that_were_asked_for_have_columns(browser, tmp_path):
    """Of those runs that have them; a sweep without looks as before."""
    sweep = make_sweep(tmp_path / "ranks")
    main([str(sweep)])
    browser.open((sweep / "comparison.html").as_uri(), 1400)
    plain = browser.run("document.querySelectorAll('#ranking th').length")
    run = make_run(sweep / "robust", rank=2)
    evaluation = json.loads(run.evaluation.read_text())
    evaluation["metrics"] = {"consistency": {"label": "same in all orders", "digits": 3}}
    evaluation["after"]["consistency"] = 0.475
    run.evaluation.write_text(json.dumps(evaluation))
    main([str(sweep)])
    browser.open((sweep / "comparison.html").as_uri(), 1400)
    assert browser.run("document.querySelectorAll('#ranking th').length") == plain + 1
    assert "0.475" in browser.run("document.getElementById('ranking').textContent")
    assert "metric/same in all orders" in (sweep / "comparison.csv").read_text()
