"""Judging one group of completions: the way reference code does it, and ours.

    python benchmarks/judge.py            # about three minutes; exit code 1 when a claim fails

The reference calls `metric.measure` for each completion of each reward and Evidently row by row,
one after another, with the libraries' own clients. Ours is the rewards of conf/rewards/judges.yaml
on the judge of conf/judge/openai.yaml. Both run in this process, in turns, against one server in
another that answers every call after 0.3 s; what is printed of each is its median round. "same
work": our rewards with reasons and with steps that the judge derives, as the reference asks for
them. CPU is this process's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import instantiate

from medgrpo.dataset.example import Example
from medgrpo.judge.openai import OpenAIJudge

ROOT = Path(__file__).parent.parent
SERVER = ROOT / "tests" / "judge" / "server.py"
LATENCY = 0.3  # seconds a call
ROUNDS = 3
CHAIN = {"same work": 4, "defaults": 3}  # dependent calls of summarization, with a reason and not
STEPS = "deepeval_geval_rag"

ROW = Example(
    id="q",
    question="Does early mobilisation shorten the stay in hospital after hip fracture surgery?",
    context=[
        "Two hundred adults with hip fracture were randomised to early or usual mobilisation.",
        "The stay in hospital was shorter after early mobilisation (7 against 10 days, p = 0.01).",
    ],
    options=[],
    answer="yes",
    label="yes",
    explanation="",
)


def completions(count: int) -> list[str]:
    """Responses of one group, all different."""
    return [
        "<reasoning>\nAdults with hip fracture were randomised.\n"
        f"The stay was shorter by {n} days, which a p value of 0.01 supports.\n</reasoning>\n"
        f"<answer>\nyes, by {n} days\n</answer>"
        for n in range(count)
    ]


def serial(url: str, texts: list[str]) -> None:
    """The reference: four metrics, one after another, on the libraries' own clients."""
    import pandas as pd
    from deepeval.metrics import AnswerRelevancyMetric, GEval, SummarizationMetric
    from deepeval.models import LocalModel
    from deepeval.test_case import LLMTestCase, SingleTurnParams
    from evidently import Dataset
    from evidently.descriptors import CorrectnessLLMEval
    from evidently.llm.utils.wrapper import OpenAIOptions

    model = LocalModel(model="judge", api_key="none", base_url=url)
    params = [
        SingleTurnParams.INPUT,
        SingleTurnParams.ACTUAL_OUTPUT,
        SingleTurnParams.EXPECTED_OUTPUT,
    ]
    params.append(SingleTurnParams.RETRIEVAL_CONTEXT)
    context = "\n\n".join(ROW["context"])
    for text in texts:
        case = LLMTestCase(
            input=ROW["question"], actual_output=text, expected_output=ROW["answer"],
            retrieval_context=ROW["context"],
        )  # fmt: skip
        criteria = "The actual output correctly addresses the medical question."
        metrics = [
            (GEval(name="RAG", criteria=criteria, evaluation_params=params, model=model), case),
            (SummarizationMetric(model=model), LLMTestCase(input=context, actual_output=text)),
            (AnswerRelevancyMetric(model=model), case),
        ]
        for metric, asked in metrics:
            metric.measure(asked, _show_indicator=False)
        Dataset.from_pandas(
            pd.DataFrame({"answer": [text], "gold": [ROW["answer"]]}),
            descriptors=[
                CorrectnessLLMEval(
                    "answer", target_output="gold", provider="openai", model="judge",
                    include_score=True,
                )
            ],
            options=[OpenAIOptions(api_key="none", api_url=url)],
        ).as_dataframe()  # fmt: skip


def ours(url: str, texts: list[str], cache: str | None, *, same_work: bool) -> None:
    """Four rewards of the shipped config at once."""
    judge = {**_yaml("judge/openai"), "base_url": url, "api_key_env": None, "cache": cache}
    del judge["_target_"]
    judge |= {"concurrency": 1000, "reasons": same_work}
    nodes = _yaml("rewards/judges")
    if same_work:
        nodes[STEPS]["evaluation_steps"] = None
    with closing(OpenAIJudge(**judge)) as client:
        client.preflight()
        rewards = [
            instantiate(node, _partial_=True, _convert_="all")(judge=client, name=name)
            for name, node in nodes.items()
        ]
        columns = {key: [value] * len(texts) for key, value in ROW.items()}

        async def everything() -> list[Any]:
            return await asyncio.gather(*(r(completions=texts, **columns) for r in rewards))

        _start()
        found = asyncio.run(everything())
        _stop()
        _clock["waited"] = client.report()["total"]["waited"] or 0.0
    assert all(score is not None for scores in found for score in scores)


_clock: dict[str, float] = {}


def _start() -> None:
    _clock.update(wall=time.perf_counter(), cpu=time.process_time())


def _stop() -> None:
    _clock.update(
        wall=time.perf_counter() - _clock["wall"], cpu=time.process_time() - _clock["cpu"]
    )


def _yaml(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "conf" / f"{name}.yaml").read_text(encoding="utf-8"))


def measured(root: str, ways: dict[str, Callable[[], None]]) -> dict[str, dict[str, float]]:
    """The median round of each way, in turns: wall and CPU seconds, and what the server counted."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, work in ways.items():
            _post(root, {})
            work()
            with urllib.request.urlopen(f"{root}/stats") as response:
                found[name].append({**_clock, **json.load(response)})
    return {
        name: sorted(rounds, key=lambda one: one["wall"])[ROUNDS // 2]
        for name, rounds in found.items()
    }


def _post(root: str, settings: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"{root}/set", json.dumps(settings).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request).close()


def benchmark(root: str) -> bool:
    """Run everything, print it, and say whether every claim holds."""
    url = f"{root}/v1"
    eight, many = completions(8), completions(64)
    _post(root, {"latency": 0.0})
    for same_work in (True, False):  # imports and first-time work of the libraries
        ours(url, eight[:1], None, same_work=same_work)
    serial(url, eight[:1])
    _post(root, {"latency": LATENCY})

    def reference() -> None:
        _start()
        serial(url, eight)
        _stop()

    with tempfile.TemporaryDirectory() as folder:
        cache = str(Path(folder) / "judge.sqlite")
        ours(url, eight, cache, same_work=False)
        table = measured(
            root,
            {
                "reference, one after another": reference,
                "same work": lambda: ours(url, eight, None, same_work=True),
                "defaults": lambda: ours(url, eight, None, same_work=False),
                "defaults, warm cache": lambda: ours(url, eight, cache, same_work=False),
                "defaults, 64 completions": lambda: ours(url, many, None, same_work=False),
            },
        )
    slow = table["reference, one after another"]["wall"]
    print(f"{'8 completions x 4 rewards':30} wall s  ratio  calls  tokens   CPU s  at once")
    for name, one in table.items():
        tokens = one.get("tokens_in", 0) + one.get("tokens_out", 0)
        print(
            f"{name:30} {one['wall']:6.3f} {slow / one['wall']:6.0f} {one.get('requests', 0):6.0f} "
            f"{tokens:7.0f} {one['cpu']:7.3f} {one['most_under_way']:8.0f}"
        )
    return claims(table)


def claims(table: dict[str, dict[str, float]]) -> bool:
    slow = table["reference, one after another"]["wall"]
    same, fast = table["same work"]["wall"], table["defaults"]["wall"]
    warm, many = table["defaults, warm cache"]["wall"], table["defaults, 64 completions"]
    checks = {
        f"same work {slow / same:.1f}x, at least 15x": slow / same >= 15,
        f"defaults {slow / fast:.1f}x, at least 20x": slow / fast >= 20,
        f"warm cache {slow / warm:.0f}x, at least 300x": slow / warm >= 300,
    }
    for name, depth in CHAIN.items():
        times = table[name]["wall"] / (depth * LATENCY)
        checks[f"{name}: {times:.2f} of {depth} calls in a row, at most 1.4"] = times <= 1.4
    cpu = many["cpu"] / 64 / (table["defaults"]["cpu"] / 8)
    checks[f"CPU a completion at 64 is {cpu:.2f} of that at 8, at most 1.5"] = cpu <= 1.5
    waited = many["waited"]
    checks[f"{waited:.3f} s waited in our queue by all calls of 64 completions"] = waited < 0.01
    for claim, holds in checks.items():
        print(f"{'holds' if holds else 'FAILS'}  {claim}")
    return all(checks.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # the reference closes no client
    command = [sys.executable, str(SERVER), str(LATENCY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            held = benchmark(server.stdout.readline().strip())
        finally:
            server.terminate()
    sys.exit(0 if held else 1)
