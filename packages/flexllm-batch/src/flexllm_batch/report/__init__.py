"""What an output file tells about its run: sums, and a page that shows it."""
