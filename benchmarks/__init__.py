"""What a promotion costs the people who use the ring, ours and the usual ways side by side. Run by `tools/bench`."""
