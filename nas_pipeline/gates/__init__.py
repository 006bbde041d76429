"""Every gate of the product as pure functions; `gate` explains what a gate is and how one is added."""
