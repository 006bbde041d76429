"""Sources, manifest, validation and loaders of labelled images. The catalogue of sources is in `data.sources`."""
