"""What users may still write and what it is now: keys of a config, modules and classes."""

from __future__ import annotations

MOVED = {
    # keys
    "evaluation.engine": "engine",
    "evaluation.base_url": "engine.base_url",
    "evaluation.served_model": "engine.served_model",
    "evaluation.api_key_env": "engine.api_key_env",
    "model.fast_inference": "a model of Unsloth's, which alone has it",
    "model.gpu_memory_utilization": "a model of Unsloth's, which alone has it",
    "tracking.mode": "tracking=wandb, which alone has it",
    # modules
    "medgrpo.compose": "medgrpo.config.compose",
    "medgrpo.contradictions": "medgrpo.config.conflicts",
    "medgrpo.origins": "medgrpo.config.provenance",
    "medgrpo.overrides": "medgrpo.config.overrides",
    "medgrpo.validate": "medgrpo.config.validate",
    "medgrpo.evaluation.intervals": "medgrpo.metrics.intervals",
    "medgrpo.evaluation.paired": "medgrpo.metrics.paired",
    "medgrpo.evaluation.score": "medgrpo.metrics.compute",
    "medgrpo.evaluation.generate": "medgrpo.evaluation.engines.transformers_engine",
    "medgrpo.evaluation.served": "medgrpo.evaluation.engines.openai_engine",
    "medgrpo.evaluation.vllm_engine": "medgrpo.evaluation.engines.vllm_engine",
    "medgrpo.report.comparison": "medgrpo.compare.comparison",
    "medgrpo.report.comparison_answers": "medgrpo.compare.answers",
    "medgrpo.report.comparison_jobs": "medgrpo.compare.records",
    "medgrpo.report.comparison_page": "medgrpo.compare.page",
    "medgrpo.report.comparison_stats": "medgrpo.compare.statistics",
    "medgrpo.report.comparison_table": "medgrpo.compare.table",
    "medgrpo.report.comparison_workspace": "medgrpo.compare.workspace",
    "medgrpo.rewards.parse": "medgrpo.answers.parse",
    "medgrpo.rewards.tags": "medgrpo.answers.tags",
    "medgrpo.tracking.wandb_file": "medgrpo.compare.wandb_file",
    "medgrpo.tracking.wandb_mirror": "medgrpo.tracking.mirror",
    "medgrpo.trainer.fields": "medgrpo.config.trl_fields",
}
