"""One file per source of labelled images; the catalogue is in `nas_pipeline.data`."""
