"""The paths of Gemini's models, on the Developer API and on Vertex AI."""

from __future__ import annotations

import re

MODEL_PATH = re.compile(
    r"(?P<base>.*/(?P<version>v1|v1alpha|v1beta|v1beta1))/(?P<vertex>projects/[^/]+/locations/[^/]+/)?"
    r"(?P<publisher>publishers/google/)?models/(?P<model>[^:/]+):(?P<verb>\w+)"
)
"""Where a model is called; `vertex` or `publisher` is there on Vertex AI only."""
