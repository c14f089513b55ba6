"""The rows of the table: each a function that takes the bench and gives the raw data of one row."""
