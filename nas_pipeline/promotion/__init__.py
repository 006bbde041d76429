"""What a version has to show before it may be champion, and the page that describes it. Pure: MLflow is elsewhere."""
