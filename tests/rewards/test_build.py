"""The rewards and the judge of a config."""

from contextlib import ExitStack

from omegaconf import OmegaConf

from medgrpo.rewards.build import open_judge
from medgrpo.rundir import RunFolder

CFG = OmegaConf.create(
    {
        "rewards": {"asked": {"judge": None}},
        "grader": None,
        "judge": {"_target_": "medgrpo.judge.lexical.LexicalJudge"},
    }
)


def test_the_bill_of_a_resumed_run_is_that_of_all_its_processes(tmp_path):
    for _ in range(2):
        with RunFolder(tmp_path) as folder, ExitStack() as stack:
            judge = open_judge(CFG, stack, folder)
            judge.usage["asked"].verdicts += 3
            judge.usage["asked"].cost += 0.5
            judge.usage["asked"].latencies.append(2.0)
    bill = RunFolder(tmp_path).read_summary()["judge"]
    for part in ("asked", "total"):
        assert (bill[part]["verdicts"], bill[part]["cost"]) == (6, 1.0)
        assert bill[part]["latency_p50"] == 2.0
