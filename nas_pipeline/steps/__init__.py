"""What each stage does: parameters unpacked into keyword arguments of the rooms, results written as artefacts."""
