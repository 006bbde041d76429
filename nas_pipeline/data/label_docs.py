"""The HTML page of doubtful labels, for correction by a person. Self-contained, without requests."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from PIL import Image

_SHOWN = 60
_THUMBNAIL_PX = 96

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Doubtful labels: {{ name }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 1rem; padding: 0; }
li { list-style: none; border: 1px solid #8886; border-radius: .5rem; padding: .75rem; overflow-wrap: anywhere; }
img { image-rendering: pixelated; display: block; margin-bottom: .5rem; } code { font-size: .85em; }
</style>
</head>
<body>
<h1>Doubtful labels: {{ name }}</h1>
<p>{{ rows | length }} of {{ judged }} images in {{ splits }}, predicted by a network that was not trained on them.
The network may be wrong: check each image before you change its label.
{% if rows | length > shown | length %}The first {{ shown | length }} are shown, all are in label_candidates.json.
{% endif %}</p>
<ol>
{% for row in shown %}
<li><img width="{{ px }}" height="{{ px }}" alt="" src="data:image/png;base64,{{ row.png }}">
labelled <b>{{ row.given }}</b> ({{ "%.0f" | format(100 * row.given_probability) }} %)<br>
predicted <b>{{ row.likely }}</b> ({{ "%.0f" | format(100 * row.likely_probability) }} %)<br>
<code>{{ row.id }}</code></li>
{% endfor %}
</ol>
</body>
</html>
"""


def render_labels(
    name: str, rows: Sequence[dict[str, Any]], images: Sequence[np.ndarray], *, judged: int, splits: Sequence[str]
) -> str:
    """Return the HTML page of doubtful labels; all values are escaped.

    Args:
        name: Name of the data set.
        rows: id, given, likely, given_probability, likely_probability; the most doubtful first.
        images: uint8 [H, W, C] of each row.
        judged: Number of images that the network predicted.
        splits: Splits of these images.
    """
    shown = [{**row, "png": _png(image)} for row, image in zip(rows[:_SHOWN], images[:_SHOWN], strict=True)]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_PAGE).render(
        name=name, rows=rows, shown=shown, judged=judged, splits=" and ".join(splits), px=_THUMBNAIL_PX
    )


def _png(image: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(image if image.shape[2] == 3 else image[..., 0]).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()
