"""Data Docs: the HTML page of a validation report, self-contained, without scripts, fonts or requests.

The pages of Great Expectations load styles and scripts from the web, and are unstyled without access to it.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, StrictUndefined

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data validation: {{ dataset.name }}</title>
<style>
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --page: #fff; --card: #f5f7f9;
  --good: #13724a; --good-page: #e3f4ec; --bad: #b3261e; --bad-page: #fbe9e7; --warn: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #9aa5b4; --line: #343c48; --page: #14181e;
  --card: #1d232b; --good: #6fd3a3; --good-page: #16332a; --bad: #ff9d94; --bad-page: #40201d; --warn: #f0c060; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto;
  max-width: 72rem; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem; }
p { margin: .25rem 0; } .soft { color: var(--soft); } code { font-size: .85em; overflow-wrap: anywhere; }
.verdict { font-weight: 600; padding: .75rem 1rem; border-radius: .5rem; margin: 1.25rem 0; }
.warn { color: var(--warn); } .good { color: var(--good); } .bad { color: var(--bad); }
.verdict.good { background: var(--good-page); } .verdict.bad { background: var(--bad-page); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 0; }
dl div { background: var(--card); border-radius: .5rem; padding: .6rem .8rem; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .5rem .75rem .5rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; font-size: .8rem; } td.mark { white-space: nowrap; font-weight: 600; }
ul { margin: .4rem 0 0; padding-left: 1.1rem; }
</style>
</head>
<body>
<h1>Data validation: {{ dataset.name }}</h1>
<p class="soft">{{ rows }} rows, digest <code>{{ dataset.digest }}</code>, checked by {{ engine }}</p>
{% if failed %}
<p class="verdict bad">Refused: {{ failed }} of {{ expectations | length }} expectations are not met.</p>
{% else %}
<p class="verdict good">Accepted: all {{ expectations | length - warnings }} expectations are met
{%- if warnings %}, with {{ warnings }} warning(s): look at the images named below{% endif %}.</p>
{% endif %}
{% for title, facts in sections if facts %}
<h2>{{ title }}</h2>
<dl>
{% for key, value in facts.items() %}
<div><dt>{{ key | replace("_", " ") }}</dt><dd>{{ value }}</dd></div>
{% endfor %}
</dl>
{% endfor %}
{% for table, title in (("images", "Expectations on images"), ("classes", "Expectations on classes in splits")) %}
<h2>{{ title }}</h2>
<div class="wide"><table>
<thead><tr><th>Verdict</th><th>Expectation</th><th>Observed</th></tr></thead>
<tbody>
{% for check in expectations if check.table == table %}
<tr>
{% if check.success %}
<td class="mark good">&#10003; met</td>
{% elif check.level == "warn" %}
<td class="mark warn">! warning</td>
{% else %}
<td class="mark bad">&#10007; not met</td>
{% endif %}
<td>{{ check.rule }}<br>
<code class="soft">{{ check.expectation }}{{ "(" ~ check.column ~ ")" if check.column else "" }}</code></td>
<td>{{ check.observed }}
{% if check.first_offenders %}
<ul>
{% for row in check.first_offenders %}
<li><code>{{ row.id }}</code>
<span class="soft">{{ check.column ~ " = " ~ row.value if check.column != "id" else "" }}</span></li>
{% endfor %}
</ul>
{% if check.offenders > check.first_offenders | length %}<p class="soft">of {{ check.offenders }} rows</p>{% endif %}
{% endif %}
</td>
</tr>
{% else %}
<tr><td colspan="3">Not checked: the columns split and label are missing.</td></tr>
{% endfor %}
</tbody>
</table></div>
{% endfor %}
</body>
</html>
"""


def render(report: dict[str, Any]) -> str:
    """Return the HTML page of a report of `validate`; all values are escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    failed = sum(not check["success"] for check in report["expectations"] if check["level"] == "refuse")
    sections = (
        ("Images per split", report["dataset"]["counts"]),
        ("Found at ingest", report["notes"]),
        ("Bounds", report["bounds"]),
    )
    return environment.from_string(_PAGE).render(**report, failed=failed, sections=sections)
