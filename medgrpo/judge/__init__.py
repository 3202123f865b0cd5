"""The judge room. Whoever enters it has DeepEval's and Evidently's side effects off.

Both read these switches when they are imported: DeepEval would load ./.env into the environment,
create .deepeval/ and phone home, Evidently would phone home. Import this package before either.
"""

import os

for _switch in ("DEEPEVAL_TELEMETRY_OPT_OUT", "DEEPEVAL_DISABLE_DOTENV", "DO_NOT_TRACK"):
    os.environ.setdefault(_switch, "1")
