"""The shipped metrics as a run has them: what conf/metrics/standard.yaml composes to."""

import yaml
from hydra.utils import instantiate

from medgrpo.config.provenance import CONF
from medgrpo.metrics.base import Metric

NODES = yaml.safe_load((CONF / "metrics" / "standard.yaml").read_text(encoding="utf-8"))
METRICS: dict[str, Metric] = {name: instantiate(node, name=name) for name, node in NODES.items()}
