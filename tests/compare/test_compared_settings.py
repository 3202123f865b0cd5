"""Settings, not models: what a comparison says of several seeds, and does not say of one."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from synthetic_runs import make_run, make_settings

from medgrpo.compare.__main__ import main
from medgrpo.compare.comparison import compare
from medgrpo.compare.settings import Setting


@pytest.fixture
def printed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def output(folder: Path) -> str:
        assert main([str(folder)]) == 0
        return capsys.readouterr().out

    return output


def by_rank(folder: Path) -> dict[int, Setting]:
    return {setting.jobs[0].config["lora.r"]: setting for setting in compare([folder]).settings}


def conclusions(folder: Path) -> dict[int, str]:
    return {rank: setting.conclusion for rank, setting in by_rank(folder).items()}


def test_three_seeds_allow_a_claim(tmp_path, printed):
    sweep = {8: [0.5, 0.52, 0.54], 16: [0.7, 0.72, 0.74], 32: [0.51, 0.52, 0.54], 4: [0.3] * 3}
    folder = make_settings(tmp_path, sweep, rows=200)
    assert conclusions(folder) == {8: "baseline", 16: "better", 32: "no claim", 4: "worse"}
    out = printed(folder)
    assert max(map(len, out.splitlines()[:-1])) <= 80  # the last names the page
    row = next(line for line in out.splitlines() if line.startswith(" 16"))
    assert re.search(
        r" 3 0\.720 \(0\.65-0\.78\) \+0\.200 \(\+0\.\d+, \+0\.\d+\) +<0\.001 <0\.001", row
    )
    told = " ".join(out.split())
    assert "against the baseline r=8: r=16 (better), r=32 (no claim), r=4 (worse)" in told
    assert "family of 3 hypotheses, each setting against its baseline" in told
    assert "better than" not in told  # no run is ranked against another


def test_a_claim_needs_both_tests(tmp_path):
    """Seeds that differ much: rows alone, and even the crossed interval, would have claimed."""
    folder = make_settings(tmp_path, {8: [0.5, 0.55, 0.62], 16: [0.62, 0.68, 0.7]}, rows=2000)
    setting = by_rank(folder)[16]
    assert setting.contrast.p_crossed < setting.contrast.p_seeds
    assert setting.p_holm == pytest.approx(setting.contrast.p_seeds)
    assert setting.conclusion == "no claim"


def test_where_less_is_better_the_lower_setting_is(tmp_path):
    folder = make_settings(tmp_path, {8: [0.5, 0.52, 0.54], 16: [0.7, 0.72, 0.74]}, rows=200)
    for file in folder.glob("*/evaluation.json"):
        spec = {"label": "error", "higher_is_better": False, "column": "correct"}
        file.write_text(json.dumps(json.loads(file.read_text()) | {"metrics": {"accuracy": spec}}))
    settings = by_rank(folder)
    assert list(settings) == [8, 16]  # the best first
    assert settings[16].conclusion == "worse"
    assert settings[16].contrast.difference == pytest.approx(0.2)
    assert 0 <= settings[16].interval[0] < 0.72 < settings[16].interval[1] <= 1


def test_two_seeds_allow_none(tmp_path, printed):
    folder = make_settings(tmp_path, {8: [0.2, 0.21], 16: [0.9, 0.91]}, rows=200)
    assert by_rank(folder)[16].p_holm < 0.05
    assert conclusions(folder) == {8: "baseline", 16: "two seeds: no claim"}
    assert "r=16 (two seeds: no claim)" in printed(folder)


def test_one_seed_says_nothing_and_has_no_p(tmp_path, printed):
    folder = make_settings(tmp_path, {8: [0.2], 16: [0.9]}, rows=200)
    assert set(conclusions(folder).values()) == {"one seed: nothing about the setting"}
    assert all(setting.p_holm is None for setting in by_rank(folder).values())
    out = printed(folder)
    assert "one seed: nothing about the settings" in out
    assert "p Holm" not in out


def test_one_seed_beside_three(tmp_path, printed):
    folder = make_settings(tmp_path, {8: [0.5, 0.5, 0.52], 16: [0.9]}, rows=200)
    assert conclusions(folder)[16] == "one seed: nothing about the setting"
    rows = [line for line in printed(folder).splitlines() if line.startswith(" 16")]
    assert rows[0].split() == ["16", "1", "0.900", "one", "seed:", "nothing", "about"]


@pytest.mark.parametrize(
    ("baseline", "told"),
    [([0.5], "one seed: nothing about the setting"), ([0.5, 0.6], "two seeds: no claim")],
)
def test_the_baseline_needs_its_seeds_too(tmp_path, baseline, told):
    folder = make_settings(tmp_path, {8: baseline, 16: [0.9] * 3}, rows=200)
    assert conclusions(folder)[16] == f"baseline: {told}"


def test_seeds_are_not_ranked_against_each_other(tmp_path, printed):
    folder = make_settings(tmp_path, {8: [0.4, 0.6, 0.5]}, rows=200)
    comparison = compare([folder])
    assert comparison.ranks == [1, 1, 1]
    assert [job.config["seed"] for job in comparison.jobs] == [1, 2, 3]
    out = printed(folder)
    assert "better" not in out
    assert "p Holm" not in out
    assert re.search(r" 3 0\.500 \(0\.\d\d-0\.\d\d\)", out)


@pytest.mark.parametrize("seeds", [[0.96, 0.98, 1.0], [0.995] * 3, [1.0] * 3, [0.0, 0.0]])
def test_an_interval_over_seeds_stays_between_0_and_1_and_has_a_width(tmp_path, seeds):
    setting = by_rank(make_settings(tmp_path, {8: seeds}, rows=200))[8]
    low, high = setting.interval
    assert 0 <= low <= setting.mean <= high <= 1
    assert high - low > 0.01


def test_the_baseline_is_what_was_typed_first(tmp_path):
    for name, ranks in {"a": (16, 8), "b": (8, 16)}.items():
        folder = make_settings(tmp_path / name, {rank: [rank / 20] * 3 for rank in ranks})
        assert conclusions(folder)[ranks[0]] == "baseline"
    runs = [tmp_path / "a" / "8_1", tmp_path / "a" / "16_1"]
    baseline = next(s for s in compare(runs).settings if s.baseline is None)
    assert baseline.jobs[0].config["lora.r"] == 8  # of folders, the first


def test_a_baseline_that_failed_is_not_replaced(tmp_path):
    folder = make_settings(tmp_path, {16: [0.5] * 3, 32: [0.9] * 3})
    for seed in (1, 2, 3):
        make_run(folder / f"8_{seed}", rank=8, seed=seed, number=-1, status="failed", score=None)
    for name in ("evaluation.json", "predictions.parquet"):
        for file in folder.glob(f"8_*/{name}"):
            file.unlink()
    assert conclusions(folder) == {
        32: "baseline: no result",
        16: "baseline: no result",
        8: "no result",
    }


def test_a_repeated_seed_says_nothing_more(tmp_path, printed):
    folder = make_settings(tmp_path, {8: [0.5, 0.6], 16: [0.9, 0.9]})
    make_run(folder / "again", rank=8, seed=2, accuracy=0.9, number=9)
    setting = by_rank(folder)[8]
    assert [job.name for job in setting.seeds] == ["8_1", "8_2"]
    assert setting.mean == pytest.approx(0.55)
    assert conclusions(folder)[16] == "two seeds: no claim"
    assert "do not count in its mean: 1" in printed(folder)


def test_one_family_over_all_test_sets(tmp_path):
    seeds = {8: [0.5, 0.52, 0.54], 16: [0.58, 0.6, 0.62]}
    for dataset in ("medqa", "pubmedqa"):
        make_settings(tmp_path / dataset, seeds, rows=200, dataset=dataset)
    alone = by_rank(tmp_path / "medqa")[16]
    together = compare([tmp_path])
    assert together.hypotheses == 2
    tested = [setting.p_holm for setting in together.settings if setting.baseline]
    assert tested == [pytest.approx(2 * alone.p_holm)] * 2


def test_runs_that_were_asked_other_rows_are_not_ranked(tmp_path, printed):
    """More of a file, or all of it and not what was carved: under one name, and not one test."""
    make_run(tmp_path / "few", accuracy=0.5, rows=40)
    make_run(tmp_path / "many", accuracy=0.9, rows=60)
    comparison = compare([tmp_path])
    assert comparison.ranks == [None, None]
    assert comparison.pairs[0].rows == 40
    told = " ".join(printed(tmp_path).split())
    assert "not ranked, for the runs were not asked the same rows" in told
    assert "all of them share 40 of 60 rows" in told
    assert "ranked by" not in told


def test_without_common_rows_there_is_no_claim(tmp_path):
    folder = make_settings(tmp_path, {8: [0.5] * 3, 16: [0.9] * 3})
    for file in folder.glob("16_*/predictions.parquet"):
        file.unlink()
    assert conclusions(folder)[16] == "no rows in common: no claim"


@pytest.mark.parametrize(
    ("lora", "told"),
    [
        ("alpha: 8", True),
        ("alpha: {rank}", False),
        ("alpha: 8\n  use_rslora: true", False),
        ("alpha: null", False),
    ],
)
def test_a_sweep_of_ranks_at_a_fixed_alpha_is_told(tmp_path, printed, lora, told):
    folder = make_settings(tmp_path, {8: [0.5], 16: [0.6]})
    for rank in (8, 16):
        config = folder / f"{rank}_1" / ".hydra" / "config.yaml"
        more = f"  r: {rank}\n  {lora.format(rank=rank)}\n"
        config.write_text(config.read_text().replace(f"  r: {rank}\n", more))
    out = " ".join(printed(folder).split())
    assert ("the rank lora.r and the scaling lora.alpha / lora.r vary together" in out) == told


def chosen_by_validation(path: Path, *runs: tuple[int, float, float | None]) -> Path:
    """Runs of a rank, with an accuracy on test and one on validation."""
    seeds = Counter()
    for number, (rank, accuracy, validation) in enumerate(runs):
        seeds[rank] += 1
        make_run(
            path / f"r-{number}",
            accuracy=accuracy, rank=rank, validation=validation, number=number,
            seed=seeds[rank],
        )  # fmt: skip
    return path


def test_runs_are_ranked_by_validation_rows(tmp_path, printed):
    runs = (8, 0.9, 0.5), (16, 0.4, 0.7), (32, 0.6, 0.6)
    folder = chosen_by_validation(tmp_path, *runs)
    comparison = compare([folder])
    assert list(by_rank(folder)) == [16, 32, 8]
    assert {row["lora.r"]: row["rank"] for row in comparison.rows()} == {"16": 1, "32": 2, "8": 3}
    assert [row["validation_score"] for row in comparison.rows()] == [0.7, 0.6, 0.5]
    out = " ".join(printed(folder).split())
    assert (
        "ranked by 30 validation rows, of which 10 also chose each run's checkpoint; the scores "
        in out
    )
    assert "are of test rows, which nothing was selected on" in out


def test_seeds_are_averaged_on_validation_too(tmp_path, printed):
    runs = (8, 0.9, 0.2), (8, 0.8, 0.4), (16, 0.4, 0.5), (16, 0.5, 0.7)
    out = printed(chosen_by_validation(tmp_path, *runs))
    assert list(by_rank(tmp_path)) == [16, 8]
    first = next(line for line in out.splitlines() if line.strip().startswith("16"))
    assert " 0.600 " in first
    assert max(map(len, out.splitlines()[:-1])) <= 80


@pytest.mark.parametrize("missing", [(32, 0.6, None), (8, 0.7, None)])
def test_without_validation_of_all_the_test_score_ranks_and_that_is_said(
    tmp_path, printed, missing
):
    folder = chosen_by_validation(tmp_path, (8, 0.9, 0.5), (16, 0.4, 0.7), missing)
    assert next(iter(by_rank(folder))) == 8
    assert "ranked by test scores: the best one's is too high" in " ".join(printed(folder).split())
