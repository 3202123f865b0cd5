"""The comparison in W&B: a saved workspace that shows one sweep the way it is asked about.

Built from the same comparison as the local page, so that both show the same settings. A workspace
can be built without a server (`build`), and only saved with one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medgrpo.compare.comparison import Comparison
from medgrpo.errors import UserError
from medgrpo.tracking.metrics_log import is_reward_mean, reward_name

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

STEP = "train/global_step"
RESULTS = ("score", "unparsed_rate", "judge_cost")  # names in the runs' summaries
MOST_RUNS = 100  # drawn in a panel


def save_workspace(comparison: Comparison, place: str, group: str) -> str:
    """Save the workspace of the runs of `group` in `ENTITY/PROJECT`; returns its address.

    UserError when the place is not one, or W&B cannot be reached or refuses.
    """
    entity, slash, project = place.partition("/")
    if not (entity and slash and project) or "/" in project:
        raise UserError(f"--wandb: {place} is no ENTITY/PROJECT")
    workspace = build(comparison, entity, project, group)
    import requests
    import wandb

    try:
        workspace.save()
    except (wandb.Error, requests.RequestException, ValueError) as error:
        raise UserError(f"--wandb: the workspace was not saved: {error}") from error
    return str(workspace.url)


def build(comparison: Comparison, entity: str, project: str, group: str) -> Workspace:
    """The workspace, not saved: UserError without the package that describes one."""
    try:
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise UserError("--wandb needs pip install -e '.[workspace]'") from error

    columns = [column for key in comparison.keys for column in _columns(comparison, key)]
    best = comparison.jobs[0]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"Sweep {group}",
        sections=[
            ws.Section(name="Settings and results", panels=_result_panels(columns), is_open=True),
            ws.Section(name="Reward curves", panels=_curve_panels(comparison), is_open=True),
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=MOST_RUNS),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("Group") == group],
            groupby=[ws.Config("dataset._target_")] if "dataset" in comparison.keys else [],
            order=[ws.Ordering(ws.Summary("score"), ascending=not best.spec.higher_is_better)],
            pinned_columns=[
                *map(_in_the_run_table, columns),
                *(f"summary:{name}" for name in RESULTS),
            ],
        ),
    )


def _columns(comparison: Comparison, key: str) -> list[str]:
    """The config key that shows a setting in W&B: of a group, what its file builds."""
    known = {name for job in comparison.jobs for name in job.config}
    return [name for name in (key, f"{key}._target_") if name in known][:1]


def _in_the_run_table(column: str) -> str:
    """
    >>> _in_the_run_table("lora.r")
    'config:lora.value.r'
    """
    first, dot, rest = column.partition(".")
    return f"config:{first}.value{dot}{rest}"


def _result_panels(columns: list[str]) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    drawn = [*map(wr.Config, columns), *map(wr.SummaryMetric, RESULTS[:2])]
    axes = [wr.ParallelCoordinatesPlotColumn(metric=metric) for metric in drawn]
    scatter = [
        wr.ScatterPlot(title=f"Score against {c}", x=wr.Config(c), y=wr.SummaryMetric("score"))
        for c in columns
        if not c.endswith("._target_")
    ]
    scores = [wr.SummaryMetric("score")]
    return [
        wr.ParallelCoordinatesPlot(columns=axes),
        wr.BarPlot(title="Score", metrics=scores, max_runs_to_show=MOST_RUNS),
        *scatter,
        wr.RunComparer(diff_only=True),
    ]


def _curve_panels(comparison: Comparison) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    logged = dict.fromkeys(name for job in comparison.jobs for name in job.curves)
    titles = {name: reward_name(name) if is_reward_mean(name) else name for name in logged}
    return [
        wr.LinePlot(title=title, x=STEP, y=[f"train/{name}"], max_runs_to_show=MOST_RUNS)
        for name, title in titles.items()
    ]
