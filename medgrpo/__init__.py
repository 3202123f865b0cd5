"""medgrpo: GRPO fine-tuning of language models for medical question answering."""

__version__ = "0.1.0"
