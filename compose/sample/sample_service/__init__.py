"""One small service that plays every role of the sample platform."""
