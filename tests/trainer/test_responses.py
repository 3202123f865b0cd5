"""Rewards see whole responses, and which of them were cut off."""

from __future__ import annotations

import recorded

from medgrpo.rewards.formats import ReasoningTagsReward
from medgrpo.rewards.verifiable import ChoiceAccuracyReward
from medgrpo.trainer.judging import JudgeWatch

ROW = {
    "id": "1",
    "question": "Which?",
    "context": [],
    "options": ["Methanol", "Ethylene glycol"],
    "answer": "Ethylene glycol",
    "label": "B",
    "explanation": "",
}
WHOLE = "So.\n</reasoning>\n<answer>\nB) Ethylene glycol\n</answer>"
CUT = "Let us see.\nB) Ethylene glycol"


def test_what_the_template_wrote_and_where_the_response_ended(tmp_path):
    trainer = recorded.trainer_of(str(tmp_path), 1, ["rule"])
    rewards = [ReasoningTagsReward(), ChoiceAccuracyReward()]
    trainer.reward_funcs = rewards
    trainer.reward_func_names = [reward.__name__ for reward in rewards]
    trainer.reward_processing_classes = [None, None]
    trainer._watch = JudgeWatch(rewards)
    trainer.num_generations = 1
    end = trainer.processing_class.eos_token_id

    def scores(prefilled: str, text: str, *ids: int) -> list[float]:
        trainer._prefilled = prefilled
        completions = [[{"role": "assistant", "content": text}]]
        prompts = [[{"role": "user", "content": "Which?"}]]
        return trainer._calculate_rewards([dict(ROW)], prompts, completions, [list(ids)])[
            0
        ].tolist()

    assert scores("", WHOLE, 5, end)[0] < 1
    assert scores("<reasoning>\n", WHOLE, 5, end) == [1.0, 1.0]
    assert scores("", CUT, 5, end)[1] == 1.0
    assert scores("", CUT, 5)[1] == 0.0
