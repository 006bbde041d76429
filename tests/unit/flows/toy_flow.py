"""A flow that a deployment may name."""

from __future__ import annotations

from prefect import flow


@flow(name="greet", persist_result=False)
def greet(whom: str = "nobody") -> str:
    return f"good day, {whom}"
