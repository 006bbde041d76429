"""The HTML page and the summary of a run, from the artefacts of its stages."""
