"""From labelled images and a fleet's bounds to the best network for each device."""
