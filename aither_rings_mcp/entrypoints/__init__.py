"""The doors: parse in, render out, map errors. They decide nothing."""
