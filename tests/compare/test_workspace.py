"""The W&B workspace of a sweep, as the JSON that a server would be given."""

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from synthetic_runs import make_sweep

from medgrpo.compare.comparison import compare
from medgrpo.compare.workspace import build, save_workspace
from medgrpo.errors import UserError

pytest.importorskip("wandb_workspaces")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return compare([make_sweep(tmp_path_factory.mktemp("sweep"))])


@pytest.fixture(scope="module")
def model(comparison):
    workspace = build(comparison, "me", "medgrpo", "ranks")
    return json.loads(workspace._to_model().model_dump_json(by_alias=True, exclude_none=True))


def panels(model: dict, kind: str) -> list[dict]:
    sections = model["spec"]["section"]["panelBankConfig"]["sections"]
    return [p["config"] for s in sections for p in s["panels"] if p["viewType"] == kind]


def test_it_shows_the_runs_of_the_sweep_and_no_others(model):
    (run_set,) = model["spec"]["section"]["runSets"]
    (only,) = run_set["filters"]["filters"]
    assert (only["key"]["name"], only["op"], only["value"]) == ("group", "=", "ranks")
    assert run_set["grouping"] == [{"section": "config", "name": "dataset.value._target_"}]
    assert run_set["sort"]["keys"][0]["key"] == {"section": "summary", "name": "score"}


def test_the_run_table_has_what_varies_and_the_results(model):
    columns = model["spec"]["section"]["runSets"][0]["runFeed"]["columnOrder"]
    assert columns[:5] == [
        "run:displayName",
        "config:dataset.value._target_",
        "config:lora.value.r",
        "config:rewards.value.tags.weight",
        "config:seed.value",
    ]
    assert {"summary:score", "summary:unparsed_rate", "summary:judge_cost"} <= set(columns)


def test_settings_and_results_are_drawn(model):
    (parallel,) = panels(model, "Parallel Coordinates Plot")
    axes = [column["accessor"] for column in parallel["columns"]]
    assert axes[1] == "config:lora.value.r"
    assert "summary:score" in axes
    against = {(plot["xAxis"], plot["yAxis"]) for plot in panels(model, "Scatter Plot")}
    assert ("config:lora.value.r", "summary:score") in against
    assert ("config:rewards.value.tags.weight", "summary:score") in against


def test_each_reward_has_its_curve(model):
    lines = panels(model, "Run History Line Plot")
    drawn = {(plot["metrics"][0], plot["xAxis"]) for plot in lines}
    assert ("train/reward", "train/global_step") in drawn
    assert ("train/rewards/tags/mean", "train/global_step") in drawn


@pytest.mark.parametrize("place", ["medgrpo", "a/b/c", "/p", "e/"])
def test_a_place_that_is_none_is_the_users_to_mend(comparison, place):
    with pytest.raises(UserError, match="ENTITY/PROJECT"):
        save_workspace(comparison, place, "ranks")


def test_no_key_is_said_and_not_asked_for(comparison, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="not saved"):
        save_workspace(comparison, "me/medgrpo", "ranks")
